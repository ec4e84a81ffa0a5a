// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// Functions for both BPF source files in this directory. All fields are read by
// bpf_probe_read_kernel(), which fails on an invalid address.

#define READ(to, field) probe_read_kernel(&(to), sizeof(to), &(field))

// Returns the namespace that a struct pid belongs to.
INLINE struct pid_namespace *namespace_of(struct pid *pid) {
    struct pid_namespace *namespace = 0;
    u32 level = 0;
    if (!pid) return 0;
    READ(level, pid->level);
    READ(namespace, pid->numbers[level].ns);
    return namespace;
}

// Returns the PID that a struct pid has in `namespace`, or 0 if it has no PID there.
// `top` is the level of `namespace`.
INLINE u32 number_in(struct pid *pid, u32 top, struct pid_namespace *namespace) {
    struct upid number = {};
    u32 level = 0;
    if (!pid) return 0;
    READ(level, pid->level);
    if (level < top) return 0;
    READ(number, pid->numbers[top]);
    return number.ns == namespace ? number.nr : 0;
}
