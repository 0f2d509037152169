// Makes the file that its last argument names, and returns 42.
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int fd = open(argv[argc - 1], O_CREAT | O_WRONLY, 0666);
	return fd < 0 ? 41 : 42;
}
