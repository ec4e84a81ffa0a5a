// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// A task iterator (bpf_iter): a program that the kernel runs once per task while pidns
// reads from the iterator. The program writes one record for each process that is
// visible in the viewer's PID namespace. The record contains the fields that /proc
// shows about the process, and whether pidns must read more through /proc. The program
// changes nothing and reveals no kernel addresses.
//
// The structs below declare only the fields that are used. The loader fills in
// their offsets in the running kernel, from the kernel's type information (CO-RE,
// "compile once, run everywhere").
//
// Fields are read through untrusted pointers from bpf_rdonly_cast() (since Linux 6.2).
// Reading an invalid address through such a pointer returns 0. For trusted pointers,
// the verifier would search all of the kernel's types, which takes 400 to 600 ms. For
// older kernels, this file is compiled a second time with BY_HELPER. That program reads
// each field by calling bpf_probe_read_kernel().
//
// The program runs in an RCU read-side critical section, in which credentials, struct
// pid, PID namespaces and descriptor tables stay in memory. But a task may drop its
// struct nsproxy and its struct files_struct at any time. So the pointers to these two
// structs are read again at the end. If a pointer has changed, the record is marked as
// CHANGED.

#include "common.bpf.h"

struct ns_common { u32 inum; u64 ns_id; } KERNEL;
struct pid_namespace { struct ns_common ns; } KERNEL;
struct mnt_namespace { struct ns_common ns; } KERNEL;
struct nsproxy {
    struct mnt_namespace *mnt_ns;
    struct pid_namespace *pid_ns_for_children;
} KERNEL;
struct cred { u32 uid; } KERNEL;
struct signal_struct { u32 live; int nr_threads; struct pid *pids[4]; } KERNEL;
struct super_block { unsigned long s_magic; } KERNEL;
struct inode { struct super_block *i_sb; } KERNEL;
struct file { struct inode *f_inode; u32 f_flags; } KERNEL;
struct fdtable { u32 max_fds; struct file **fd; u64 *open_fds; } KERNEL;
struct files_struct { u32 count; struct fdtable *fdt; } KERNEL;
struct task_struct {
    u32 __state;
    int exit_state;
    u32 flags;
    int pid;
    int tgid;
    u64 start_boottime;
    char comm[16];
    struct task_struct *real_parent;
    struct pid *thread_pid;
    struct cred *real_cred;
    struct signal_struct *signal;
    struct nsproxy *nsproxy;
    struct files_struct *files;
    void *mm;
} KERNEL;
struct seq_file { struct file *file; } KERNEL;

// Reads from an address whose type the verifier does not know.
#define READ_AT(to, address) probe_read_kernel(&(to), sizeof(to), address)
// Macros that cast an address to a struct, and read a field of a struct.
#ifdef BY_HELPER
#define STRUCT(name, address) ((struct name *)(address))
#define READ(to, field) READ_AT(to, &(field))
#else
// The loader replaces this number, because the ID of the kfunc differs between kernels.
static void *(*const rdonly_cast)(const void *, u32 type) = (void *)0x7dcb0001;
#define STRUCT(name, address) \
    ((struct name *)rdonly_cast(address, __builtin_btf_type_id(*(struct name *)0, 1)))
// The read is volatile, because other processors may change the field.
#define READ(to, field) ((to) = *(volatile __typeof__(field) *)&(field))
#endif

// PF_EXITING in the kernel.
#define EXITING 4
// NSFS_MAGIC of statfs(2).
#define NSFS 0x6e736673
// Maximum capacity of the descriptor tables that this program searches. A longer search
// would delay signals too much.
#define MOST_DESCRIPTORS (1 << 15)
// Minimum capacity of a descriptor table.
#define FEWEST_DESCRIPTORS 64
// Flags of open(2) that the kernel ignores for iterators (see is_anothers()).
#define O_APPEND 02000
#define O_NONBLOCK 04000
// Maximum number of PIDs in a record.
#define LEVELS 8
// Mask for level numbers, so that the verifier knows an upper bound. (The kernel's
// MAX_PID_NS_LEVEL is 32.)
#define ANY_LEVEL 63
// Number of consecutive PIDs in a block (two iterators report alternate blocks).
#define BLOCK 16

// Bit of the field `more` for a process that may have a namespace open.
#define HOLDS_DESCRIPTOR 1
// Bit of the field `more` for a process that changed while the record was being written.
#define CHANGED 2

// A record about one process, decoded by record.rs.
struct record {
    u64 ns_id;           // 64-bit ID of its PID namespace; 0 before Linux 6.18
    u64 children_ns_id;  // 64-bit ID of the PID namespace for its children
    u64 start;           // start time in nanoseconds since boot
    u32 pid, parent;     // in the viewer's PID namespace; 0 if not visible
    u32 uid;             // real UID in the initial user namespace
    u32 state, exit_state, flags;
    u32 living, threads; // number of threads that are not exiting, and of all threads
    u32 namespace, children_namespace, mount_namespace; // inode numbers
    u32 has_memory;      // 1 until the process drops its memory on exit; 0 for kernel threads
    u32 more;            // HOLDS_DESCRIPTOR, CHANGED
    u32 levels;          // number of the process's PIDs; nspid has the first LEVELS of them
    u32 nspid[LEVELS];
    u64 comm[2];         // name: 16 bytes of text
};

// A descriptor table, and how far look_at() has searched it.
struct table {
    struct file **files;
    u64 *open;
    u64 bits;                         // one bit per remaining descriptor: 1 if open
    u64 inode;                        // number_of() the previous file's inode
    u64 file_system;                  // number_of() that file's file system, which is not nsfs
    u32 holds;
};

static long look_at(u64 number, struct table *table);

// Converts a pointer to a unique number, which is 0 only for a null pointer.
INLINE u64 number_of(const void *pointer) {
    // The verifier checks later code once for each possible origin of a pointer. Converting the
    // pointer to a number avoids the repeated checks.
    u64 number = -(u64)pointer;
    // Hides the origin of `number`, so that the compiler can't use `pointer` instead.
    asm volatile("" : "+r"(number));
    return number;
}

// Returns 1 if a number is not 0.
INLINE u32 is_set(u64 number) {
    // A branch would make the verifier check all later code twice.
    u64 negative = -number;
    // Keeps the compiler from generating a branch.
    asm volatile("" : "+r"(negative));
    return (number | negative) >> 63;
}

// Returns the position of the highest set bit (1 to 64), or 0, without a branch.
INLINE u32 length(u64 bits) {
    for (int i = 1; i < 64; i *= 2) bits |= bits >> i;
    // Count the set bits in groups of two, four and eight bits.
    bits -= bits >> 1 & 0x5555555555555555;
    bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333);
    bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f;
    // The top byte of the product is the sum of all bytes.
    return bits * 0x0101010101010101 >> 56;
}

// Searches the descriptors of a process for namespaces. Returns HOLDS_DESCRIPTOR, CHANGED,
// both or 0.
INLINE u32 holds_descriptor(struct task_struct *task, struct signal_struct *signal) {
    struct files_struct *files = 0, *again = 0;
    READ(files, task->files);
    struct fdtable *descriptors = 0;
    struct table table = {};
    u32 count = 0, users = 0, living = 0;
    READ(descriptors, files->fdt);
    READ(count, descriptors->max_fds);
    READ(table.files, descriptors->fd);
    READ(table.open, descriptors->open_fds);
    // Without a descriptor table, `count` is 0. The unsigned subtraction then wraps around, so
    // the condition is true.
    if (count - FEWEST_DESCRIPTORS > MOST_DESCRIPTORS) return is_set(number_of(files)) * CHANGED;
    READ(users, files->count);
    READ(living, signal->live);
    // If a table has more users than the process has threads, other processes share it. Leave
    // a large shared table to the /proc reader, because it searches the table only once.
    if (count > FEWEST_DESCRIPTORS && users > living) return HOLDS_DESCRIPTOR;
    u64 last = 0;
    // `count` is a multiple of 64.
    READ_AT(last, &table.open[count / 64 - 1]);
    loop(count - 64 + length(last), look_at, &table, 0);
    READ(again, task->files);
    return table.holds | is_set(number_of(again) ^ number_of(files)) * CHANGED;
}

// Returns a nonzero number if another iterator reports this process.
INLINE int is_anothers(struct seq_file *output, struct task_struct *task) {
    u32 pid = task->tgid, flags = 0;
    struct file *iterator = 0;
    READ(iterator, STRUCT(seq_file, output)->file);
    READ(flags, STRUCT(file, iterator)->f_flags);
    // The open flags select the PID blocks that an iterator skips: O_APPEND the odd blocks,
    // O_NONBLOCK the even blocks.
    return flags & (pid / BLOCK % 2 ? O_APPEND : O_NONBLOCK);
}

INLINE int write_record(struct bpf_iter__task *context, int search) {
    struct task_struct *task = context->task;
    if (!task) return 0;
    task = STRUCT(task_struct, task);
    u64 is_other = task->pid ^ task->tgid;
    // Skip threads other than the leader, except exiting threads. If another thread replaces
    // the leader in execve(2), the iterator may see only the exiting old leader.
    if (is_other && !(task->flags & EXITING)) return 0;

    // The viewer is the task that reads from the iterator.
    struct task_struct *viewer = STRUCT(task_struct, (void *)get_current_task());
    if (is_anothers(context->meta->seq, task)) return 0;
    struct pid *pid = 0;
    u32 top = 0;
    READ(pid, viewer->thread_pid);
    READ(top, pid->level);

    u32 level = 0;
    struct signal_struct *signal = 0;
    READ(signal, task->signal);
    pid = 0;
    READ(pid, signal->pids[TGID]);
    // The process was just reaped, so it has no PID any more.
    if (!pid) return 0;
    READ(level, pid->level);
    if (level < top) return 0;
    u32 levels = level - top + 1;

    struct record record = {};
    record.levels = levels;
    record.more = is_set(is_other) * CHANGED;
    struct pid_namespace *viewers, *own = 0;
    // The program and its functions have only 512 bytes of stack. The braces let the compiler
    // reuse the stack space of `numbers`.
    {
        struct upid numbers[LEVELS] = {};
        u64 size = sizeof(numbers[0]) * (levels > LEVELS ? LEVELS : levels);
        // Keeps the compiler from recomputing the size after the check below.
        asm volatile("" : "+r"(size));
        if (size > sizeof(numbers)) return 0;
        probe_read_kernel(numbers, size, &pid->numbers[top & ANY_LEVEL]);
#pragma unroll
        for (int i = 0; i < LEVELS; i++) record.nspid[i] = numbers[i].nr;
        record.pid = numbers[0].nr;
        // numbers[0] is the process's PID in the viewer's namespace.
        viewers = numbers[0].ns;
    }

    READ(own, STRUCT(upid, &pid->numbers[level & ANY_LEVEL])->ns);
    READ(record.namespace, own->ns.inum);
    if (EXISTS(own->ns.ns_id)) READ(record.ns_id, own->ns.ns_id);
    {
        void *memory = 0;
        READ(memory, task->mm);
        record.has_memory = is_set(number_of(memory));
    }

    {
        struct cred *cred = 0;
        READ(cred, task->real_cred);
        READ(record.uid, cred->uid);
    }
    READ(record.living, signal->live);
    READ(record.threads, signal->nr_threads);
    record.state = task->__state;
    record.exit_state = task->exit_state;
    record.flags = task->flags;
    record.start = task->start_boottime;
    u64 *comm = (u64 *)task->comm;
    record.comm[0] = comm[0];
    record.comm[1] = comm[1];

    if (search) {
        struct nsproxy *proxy = 0, *again = 0;
        struct pid_namespace *children = 0;
        struct mnt_namespace *mounts = 0;
        READ(proxy, task->nsproxy);
        READ(children, proxy->pid_ns_for_children);
        READ(mounts, proxy->mnt_ns);
        READ(record.mount_namespace, mounts->ns.inum);
        READ(again, task->nsproxy);
        READ(record.children_namespace, children->ns.inum);
        if (EXISTS(own->ns.ns_id)) READ(record.children_ns_id, children->ns.ns_id);
        record.more |= is_set(number_of(again) ^ number_of(proxy)) * CHANGED;
        // If the task is not the leader, the process is read through /proc anyway.
        if (!is_other) record.more |= holds_descriptor(task, signal);
    }

    // The verifier checks the code after a branch once for each path. Reading the parent needs
    // branches, so do it last.
    struct task_struct *parent = 0;
    READ(parent, task->real_parent);
    if (!top) {
        // The viewer is in the initial PID namespace, so the parent's PID is its tgid.
        READ(record.parent, parent->tgid);
    } else {
        READ(signal, parent->signal);
        pid = 0;
        READ(pid, signal->pids[TGID]);
        level = 0;
        READ(level, pid->level);
        if (pid && level >= top) {
            struct upid *number = STRUCT(upid, &pid->numbers[top & ANY_LEVEL]);
            own = 0;
            READ(own, number->ns);
            if (own == viewers) READ(record.parent, number->nr);
        }
    }

    seq_write(context->meta->seq, &record, sizeof(record));
    return 0;
}

// The program for `--search processes`.
SECTION("processes") int pidns_processes(struct bpf_iter__task *context) {
    return write_record(context, 0);
}

// The program for any `--search` with a scope other than `processes`.
SECTION("holders") int pidns_holders(struct bpf_iter__task *context) {
    return write_record(context, 1);
}

// Returns 1, which ends the loop, if a descriptor refers to a namespace.
SECTION("holders") static long look_at(u64 number, struct table *table) {
    if (number % 64 == 0) READ_AT(table->bits, &table->open[number / 64]);
    u64 is_open = table->bits & 1;
    table->bits >>= 1;
    if (!is_open) return 0;
    struct file *file = 0;
    struct inode *inode = 0;
    READ_AT(file, &table->files[number]);
    READ(inode, STRUCT(file, file)->f_inode);
    if (number_of(inode) == table->inode) return 0;
    table->inode = number_of(inode);
    struct super_block *file_system = 0;
    READ(file_system, inode->i_sb);
    if (number_of(file_system) == table->file_system) return 0;
    table->file_system = number_of(file_system);
    unsigned long magic = 0;
    READ(magic, file_system->s_magic);
    if (magic != NSFS) return 0;
    table->holds = HOLDS_DESCRIPTOR;
    return 1;
}
