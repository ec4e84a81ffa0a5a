// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// Two programs for `pidns limits`. The first writes the number of PIDs in use in each
// PID namespace. The second writes how many tasks and PID namespaces the kernel counts
// for the user of each process. The programs change nothing and reveal no kernel
// addresses.
//
// The structs declare only the fields that are used, as in task.bpf.c. The programs run
// in an RCU read-side critical section, which keeps everything read here in memory.

#include "common.bpf.h"
#include "memory/memory.bpf.h"

struct xarray { void *xa_head; } KERNEL;
struct xa_node { u8 shift; void *slots[64]; unsigned long tags[1]; } KERNEL;
struct idr { struct xarray idr_rt; u32 idr_next; } KERNEL;
struct ns_common { u32 inum; } KERNEL;
struct pid_namespace {
    struct idr idr;
    u32 pid_allocated;
    u32 level;
    int pid_max; // since Linux 6.14
    struct pid_namespace *parent;
    struct ns_common ns;
} KERNEL;
struct signal_struct { struct pid *pids[4]; } KERNEL;
struct nsproxy { struct pid_namespace *pid_ns_for_children; } KERNEL;
typedef struct { u32 val; } kuid_t;
typedef struct { long counter; } atomic64_t;
typedef atomic64_t atomic_long_t;
struct ucounts {
    struct user_namespace *ns;
    kuid_t uid;
    atomic_long_t ucount[2];
    atomic_long_t rlimit[1];
} KERNEL;
struct user_namespace {
    struct ns_common ns;
    struct ucounts *ucounts; // of the user who created it, in the parent
    long ucount_max[2];
    long rlimit_max[1];
} KERNEL;
struct cred { struct ucounts *ucounts; } KERNEL;
struct task_struct {
    struct pid *thread_pid;
    struct signal_struct *signal;
    struct nsproxy *nsproxy;
    struct cred *real_cred;
} KERNEL;

// RESERVED_PIDS in the kernel.
#define RESERVED 300
// PID_MAX_LIMIT in the kernel on 64-bit machines.
#define PID_MAX_LIMIT (1U << 22)
// Maximum nesting depth of user namespaces. The maximum for PID namespaces is lower.
#define MOST_LEVELS 34
// Maximum number of calls to count_next(), each for at least 64 PIDs.
#define MOST_STEPS (1 << 17)
// Index of PID namespaces in `ucount` and `ucount_max` (UCOUNT_PID_NAMESPACES).
#define PID_NAMESPACES 1
// Index of the element for tasks in `rlimit` and `rlimit_max` (UCOUNT_RLIMIT_NPROC).
#define NPROC 0

// A map of the namespaces or users for which this program already wrote a record.
extern char written __attribute__((nodebug));

// Adds a key to `written`, or returns 0 if the map has the key or is full.
INLINE int is_first(const void *key) {
    u64 value = 0;
    return !update(&written, key, &value, BPF_NOEXIST);
}

// Returns the struct pid of `task` if `task` is a thread group leader, otherwise 0.
INLINE struct pid *leader(struct task_struct *task) {
    struct signal_struct *signal = 0;
    struct pid *pid = 0, *process = 0;
    READ(pid, task->thread_pid);
    READ(signal, task->signal);
    READ(process, signal->pids[TGID]);
    return pid == process ? pid : 0;
}

// Returns the index of the most significant set bit.
INLINE u32 highest_bit(u64 bits) {
    // Clang 14 fails to compile __builtin_clzll() for BPF.
    u32 number = 0;
    for (u32 half = 32; half; half /= 2) {
        if (bits >> half) {
            bits >>= half;
            number += half;
        }
    }
    return number;
}

// A record about a namespace, decoded by limits.rs (`PidNumbers`).
struct numbers {
    u32 inode;
    u32 level;
    u32 allocated; // PIDs in use
    u32 pid_max;   // 0 before Linux 6.14
    u32 first;     // the lowest PID that can be allocated
    u32 used;      // number of PIDs in use that are `first` or higher
    u32 highest;   // the highest PID in use
    u32 is_whole;  // 1 if all PIDs were counted
};

// The state of the loops in pidns_numbers().
struct look {
    struct numbers numbers;
    struct seq_file *seq;
    struct pid_namespace *at;
    void *head; // the root of the tree of numbers
    u32 next;   // the next PID to examine
    u32 end;
};

static long count_next(u64 step, struct look *look);
NOINLINE static void write_numbers(struct look *look);
static long climb(u64 number, struct look *look);

// Runs once per process. Writes records about the namespace whose init the process is,
// and about the namespace in which the process creates its children.
SECTION("numbers") int pidns_numbers(struct bpf_iter__task *context) {
    struct task_struct *task = context->task;
    if (!task) return 0;
    struct pid *pid = leader(task);
    struct look look = {};
    look.seq = context->meta->seq;
    look.at = namespace_of(pid);
    if (!look.at) return 0;
    struct nsproxy *proxy = 0;
    struct pid_namespace *children = 0;
    u32 level = 0;
    READ(level, pid->level);
    READ(proxy, task->nsproxy);
    if (proxy) READ(children, proxy->pid_ns_for_children);
    if ((u64)task == get_current_task()) {
        // This process is pidns, so include the ancestors of its namespace.
        loop(MOST_LEVELS, climb, &look, 0);
    } else if (number_in(pid, level, look.at) == 1) {
        // The process is the init of its namespace.
        write_numbers(&look);
    }
    // The process creates its children in this namespace.
    look.at = children;
    write_numbers(&look);
    return 0;
}

// Writes a record about the namespace `look->at`, then sets `look->at` to its parent.
SECTION("numbers") static long climb(UNUSED u64 number, struct look *look) {
    struct pid_namespace *at = look->at, *parent = 0;
    write_numbers(look);
    READ(parent, at->parent);
    look->at = parent;
    // A return value of 1 ends the loop.
    return !parent;
}

// Writes a record about the namespace `look->at`, unless it already has a record.
SECTION("numbers") NOINLINE static void write_numbers(struct look *look) {
    struct pid_namespace *at = look->at;
    struct numbers none = {};
    u32 cursor = 0;
    if (!at) return;
    look->numbers = none;
    READ(look->numbers.inode, at->ns.inum);
    if (!is_first(&look->numbers.inode)) return;
    READ(look->numbers.level, at->level);
    READ(look->numbers.allocated, at->pid_allocated);
    look->numbers.allocated &= ~MAY_ADD;
    if (EXISTS(at->pid_max)) READ(look->numbers.pid_max, at->pid_max);
    READ(cursor, at->idr.idr_next);
    READ(look->head, at->idr.idr_rt.xa_head);
    // If the IDR's cursor is above RESERVED, the kernel allocates no PID below RESERVED.
    look->numbers.first = cursor > RESERVED ? RESERVED : 1;
    look->next = look->numbers.first;
    look->end = look->numbers.pid_max ? look->numbers.pid_max : PID_MAX_LIMIT;
    // count_next() can only read tree nodes with 64 slots.
    if (OFFSET(xa_node, tags) - OFFSET(xa_node, slots) == 64 * 8) loop(MOST_STEPS, count_next, look, 0);
    seq_write(look->seq, &look->numbers, sizeof(look->numbers));
}

// Counts the PIDs in use in the next leaf node of the namespace's IDR.
SECTION("numbers") static long count_next(UNUSED u64 step, struct look *look) {
    // Copy the fields of `look` with READ(), so that the verifier does not know their values.
    // Otherwise, it would check the loop again for each value.
    void *entry = 0;
    u32 next = 0, end = 0, used = 0, above = 32;
    READ(entry, look->head);
    READ(next, look->next);
    READ(end, look->end);
    READ(used, look->numbers.used);
    // A level of the tree covers six bits of a 32-bit number, so there are at most six levels.
    for (int depth = 0; depth < 6; depth++) {
        u8 shift = 0;
        // The two lowest bits of a pointer to a node are binary 10.
        if (((u64)entry & 3) != 2) break;
        char *node = (char *)entry - 2;
        READ(shift, ((struct xa_node *)node)->shift);
        if (shift > 30) break;
        if (depth == 0 && next >> shift > 63) break;
        if (shift == 0) {
            u64 free = ~0ULL;
            READ(free, *(u64 *)(node + OFFSET(xa_node, tags)));
            u32 base = next & ~63U;
            u64 taken = ~free & ~0ULL << (next & 63);
            if (end - base < 64) taken &= (1ULL << (end - base)) - 1;
            if (taken) look->numbers.highest = base + highest_bit(taken);
            look->numbers.used = used + __builtin_popcountll(taken);
            look->next = base + 64;
            look->numbers.is_whole = base + 64 >= end;
            return base + 64 >= end;
        }
        above = shift;
        READ(entry, *(void **)(node + OFFSET(xa_node, slots) + 8 * (next >> shift & 63)));
    }
    // Skip the missing node, because all of its PIDs are free.
    u64 after = (((u64)next >> above) + 1) << above;
    look->next = after;
    look->numbers.is_whole = after >= end;
    return after >= end;
}

// A record about a user, decoded by limits.rs (`UserCount`).
struct user_count {
    u64 tasks;           // counted for RLIMIT_NPROC
    u64 most_tasks;      // the limit of this count, if `above` is not 0
    u64 namespaces;      // PID namespaces
    u64 most_namespaces; // user.max_pid_namespaces
    u32 uid;
    u32 inode; // of the user namespace
    u32 above; // levels above the user namespace of the process
    u32 spare;
};

// The state of the loop in pidns_users().
struct owner {
    struct user_count count;
    struct seq_file *seq;
    struct ucounts *at;
};

static long climb_users(u64 number, struct owner *owner);

// A user in a user namespace.
struct user { u32 inode, uid; };

// Writes records about the user of a process, and about the users who created the
// process's user namespace and the ancestors of that namespace.
SECTION("users") int pidns_users(struct bpf_iter__task *context) {
    struct task_struct *task = context->task;
    if (!task || !leader(task)) return 0;
    struct cred *cred = 0;
    struct owner owner = {};
    READ(cred, task->real_cred);
    READ(owner.at, cred->ucounts);
    if (!owner.at) return 0;
    owner.seq = context->meta->seq;
    struct user_namespace *namespace = 0;
    struct user user = {};
    READ(namespace, owner.at->ns);
    READ(user.inode, namespace->ns.inum);
    READ(user.uid, owner.at->uid.val);
    if (is_first(&user)) loop(MOST_LEVELS, climb_users, &owner, 0);
    return 0;
}

// Writes a record about the user `owner->at`, then sets `owner->at` to the creator of
// that user namespace. Each call is one step of the loop in pidns_users().
SECTION("users") static long climb_users(u64 number, struct owner *owner) {
    struct ucounts *at = owner->at, *above = 0;
    struct user_namespace *namespace = 0;
    READ(namespace, at->ns);
    READ(owner->count.uid, at->uid.val);
    READ(owner->count.tasks, at->rlimit[NPROC].counter);
    READ(owner->count.namespaces, at->ucount[PID_NAMESPACES].counter);
    READ(owner->count.inode, namespace->ns.inum);
    READ(owner->count.most_namespaces, namespace->ucount_max[PID_NAMESPACES]);
    owner->count.above = number;
    seq_write(owner->seq, &owner->count, sizeof(owner->count));
    READ(owner->count.most_tasks, namespace->rlimit_max[NPROC]);
    READ(above, namespace->ucounts);
    owner->at = above;
    // End the loop at the initial user namespace, the only one without a creator.
    return !above;
}
