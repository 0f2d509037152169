package main

// notices tells each thing once. It is for one goroutine.
type notices struct{ told map[string]bool }

func (n *notices) tell(text string) {
	if n.told[text] {
		return
	}
	if n.told == nil {
		n.told = make(map[string]bool)
	}
	n.told[text] = true
	say("%s", text)
}
