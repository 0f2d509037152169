package sys

// restorerFlag is SA_RESTORER, which amd64 needs.
const restorerFlag = 0x04000000
