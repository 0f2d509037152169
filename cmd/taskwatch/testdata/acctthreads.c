/* Two threads that use CPU time and memory, and a first one that waits for them. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *work(void *unused)
{
	struct timespec used;

	memset(malloc(1 << 22), 1, 1 << 22);
	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	while (used.tv_sec == 0 && used.tv_nsec < 200000000);
	return 0;
}

int main(void)
{
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], 0, work, 0))
			return 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], 0);
	return 4;
}
