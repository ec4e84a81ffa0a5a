// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// Declarations that all BPF programs share. Each program itself declares the kernel
// structs that it uses, and defines READ(to, field), which copies a field.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SECTION(name) __attribute__((section(name), used))
#define UNUSED __attribute__((unused))
#define INLINE static inline __attribute__((always_inline, unused))
#define NOINLINE __attribute__((noinline))
#define KERNEL __attribute__((preserve_access_index))

struct pid_namespace;
struct upid { int nr; struct pid_namespace *ns; } KERNEL;
struct pid { u32 level; struct upid numbers[1]; } KERNEL;

struct task_struct;
struct seq_file;
struct bpf_iter_meta { struct seq_file *seq; } KERNEL;
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; } KERNEL;

// Kernel helper functions, which are called by ID (bpf-helpers(7)).
UNUSED static void *(*const look_up)(void *map, const void *key) = (void *)1;
UNUSED static long (*const update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
UNUSED static u64 (*const get_current_task)(void) = (void *)35;
UNUSED static long (*const probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
UNUSED static long (*const seq_write)(struct seq_file *, const void *, u32 size) = (void *)127;
UNUSED static long (*const loop)(u32 count, void *callback, void *context, u64 flags) = (void *)181;

// Makes update() fail with EEXIST if the map has the key.
#define BPF_NOEXIST 1
#define EEXIST 17

#define EXISTS(field) __builtin_preserve_field_info(field, 2)
#define OFFSET(type, field) __builtin_preserve_field_info(((struct type *)0)->field, 0)

// PIDTYPE_TGID in the kernel: the PID of the process, not of a thread.
#define TGID 1
// PIDNS_ADDING in the kernel: a flag in the count of PIDs. The kernel clears this flag
// when the init of the namespace terminates.
#define MAY_ADD (1U << 31)
