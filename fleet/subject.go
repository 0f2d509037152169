package fleet

import "fmt"

// Role is what a client of the hub is there for.
type Role string

// The roles.
const (
	Node   Role = "node"   // runs modules, answers questions
	Reader Role = "reader" // reads what the fleet does, asks questions
	Loader Role = "loader" // a reader that says what is to run
)

// MaxConnections is how many connections a client may have at a time. A node has one, and
// for a while those that it has lost; an operator has one for each command that runs.
const MaxConnections = 16

// ParseRole returns the role of a name.
func ParseRole(name string) (Role, error) {
	switch r := Role(name); r {
	case Node, Reader, Loader:
		return r, nil
	}
	return "", fmt.Errorf("unknown role %q; choose %s, %s or %s", name, Node, Reader, Loader)
}

// The subjects. Those that a client publishes to have its key in them, so that
// the server's permissions say who has sent a message.

// DesiredSubject is where the hub says what is to run: signed entries.
const DesiredSubject = "taskwatch.desired"

// RequestSubject is where a client asks the hub for something.
func RequestSubject(key string) string { return "taskwatch.request." + key }

// ReportSubject is where a node says what it runs.
func ReportSubject(key string) string { return "taskwatch.report." + key }

// QuestionSubject is where an operator asks all nodes.
func QuestionSubject(key string) string { return "taskwatch.question." + key }

// AnswerSubject is where a node answers the question of an operator.
func AnswerSubject(asker, question, node string) string {
	return "taskwatch.answer." + asker + "." + question + "." + node
}

// ReceiptSubject is where an operator says to a node what it has read.
func ReceiptSubject(asker, node string) string { return "taskwatch.receipt." + asker + "." + node }

// Inbox is the prefix of the subjects at which a client gets answers of the hub.
func Inbox(key string) string { return "_INBOX." + key }

// Permissions are subjects that a client may use, and no others.
type Permissions struct {
	Publish, Subscribe []string
}

// Permissions returns what a client of a role may use that has this key. Nobody
// but the hub itself may use JetStream.
func (r Role) Permissions(key string) Permissions {
	p := Permissions{
		Publish:   []string{RequestSubject(key)},
		Subscribe: []string{Inbox(key) + ".>"},
	}
	switch r {
	case Node:
		p.Publish = append(p.Publish, ReportSubject(key), AnswerSubject("*", "*", key))
		p.Subscribe = append(p.Subscribe, DesiredSubject, QuestionSubject("*"), ReceiptSubject("*", key))
	case Reader, Loader:
		p.Publish = append(p.Publish, QuestionSubject(key), ReceiptSubject(key, "*"))
		p.Subscribe = append(p.Subscribe, AnswerSubject(key, "*", "*"))
	default:
		return Permissions{}
	}
	return p
}
