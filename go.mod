module github.com/taskwatch/taskwatch

go 1.24.0
