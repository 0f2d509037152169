/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Comparing a string that was copied with a parameter. Needs Linux 5.17. */
#ifndef TASK_WATCHERS_BPF_STRING_H
#define TASK_WATCHERS_BPF_STRING_H

/*
 * task_string_is - whether the string in buf[size] is s
 * @size: a constant
 * @s: a parameter (module_param_string), or a literal
 */
static __always_inline bool task_string_is(const char *buf, __u32 size, const volatile char *s)
{
	return !bpf_strncmp(buf, size, (const char *)s);
}

/* task_string_begins - whether the string in buf[size] begins with s; with an
 * empty one each does */
static __always_inline bool task_string_begins(const char *buf, __u32 size, const volatile char *s)
{
	__u32 n = 0;

	/* The verifier knows what a parameter is: it sees the end. */
	while (n < size && s[n])
		n++;
	if (n == size)
		return false;
	return !n || !bpf_strncmp(buf, n, (const char *)s);
}

#endif
