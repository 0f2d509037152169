package sys

// restorerFlag would be SA_RESTORER, which arm64 does not need.
const restorerFlag = 0
