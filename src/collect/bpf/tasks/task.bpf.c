// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// What the kernel runs for every task while pidns reads from a task iterator
// (bpf_iter): it writes one record for each process that the viewer's PID
// namespace shows. It tells what /proc would show of a process, and whether
// there is more to be read of it there. It decides nothing else, changes
// nothing, and gives away no address of the kernel.
//
// The structs hold only the fields that are read, by their names in the kernel.
// Where the running kernel has them is filled in by the loader, from the
// kernel's type information (CO-RE: "compile once, run everywhere"). They are
// read as the kernel would, except that 0 comes from an address that leads
// nowhere: the verifier has no trust in pointers that bpf_rdonly_cast() made
// (since Linux 6.2), nor in those that they lead to, and takes little time over
// them. For older kernels this source is compiled once more, with BY_HELPER:
// each field is then read by a call of bpf_probe_read_kernel().
//
// Everything happens in an RCU read-side critical section. It keeps credentials,
// struct pid, PID namespaces and tables of descriptors in memory, but not
// struct nsproxy nor struct files_struct, which a task may give up at any time.
// So pointers to those are read again afterwards.

typedef unsigned int u32;
typedef unsigned long long u64;

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define KERNEL __attribute__((preserve_access_index))

struct ns_common { u32 inum; u64 ns_id; } KERNEL;
struct pid_namespace { struct ns_common ns; } KERNEL;
struct mnt_namespace { struct ns_common ns; } KERNEL;
struct upid { int nr; struct pid_namespace *ns; } KERNEL;
struct pid { u32 level; struct upid numbers[1]; } KERNEL;
struct nsproxy {
    struct mnt_namespace *mnt_ns;
    struct pid_namespace *pid_ns_for_children;
} KERNEL;
struct cred { u32 uid; } KERNEL;
struct signal_struct { u32 live; int nr_threads; struct pid *pids[4]; } KERNEL;
struct super_block { unsigned long s_magic; } KERNEL;
struct inode { struct super_block *i_sb; } KERNEL;
struct file { struct inode *f_inode; } KERNEL;
struct fdtable { u32 max_fds; struct file **fd; u64 *open_fds; } KERNEL;
struct files_struct { struct fdtable *fdt; } KERNEL;
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
struct seq_file;
struct bpf_iter_meta { struct seq_file *seq; } KERNEL;
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; } KERNEL;

// Helper functions of the kernel, by their numbers (bpf-helpers(7)).
static u64 (*const get_current_pid_tgid)(void) = (void *)14;
static u64 (*const get_current_task)(void) = (void *)35;
static long (*const probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*const seq_write)(struct seq_file *, const void *, u32 size) = (void *)127;
static long (*const loop)(u32 count, void *callback, void *context, u64 flags) = (void *)181;

// What is at an address of which the verifier does not know what is there.
#define READ_AT(to, address) probe_read_kernel(&(to), sizeof(to), address)
// The struct at an address, and a field of such a struct. Volatile, as the same
// field may be something else the next time.
#ifdef BY_HELPER
#define STRUCT(name, address) ((struct name *)(address))
#define READ(to, field) READ_AT(to, &(field))
#else
// No helper but a function of the kernel, which has a number of its own in each
// kernel: the loader knows it by this one.
static void *(*const rdonly_cast)(const void *, u32 type) = (void *)0x7dcb0001;
#define STRUCT(name, address) \
    ((struct name *)rdonly_cast(address, __builtin_btf_type_id(*(struct name *)0, 1)))
#define READ(to, field) ((to) = *(volatile __typeof__(field) *)&(field))
#endif
#define EXISTS(field) __builtin_preserve_field_info(field, 2)

// PIDTYPE_TGID of the kernel: the PID of the whole process.
#define TGID 1
// PF_EXITING of the kernel: the task is on its way out.
#define EXITING 4
// NSFS_MAGIC of statfs(2).
#define NSFS 0x6e736673
// More descriptors than any table has where fs.nr_open is as it is set at boot,
// and fewer than would keep the kernel busy for long.
#define MOST_DESCRIPTORS (1 << 20)
// Levels whose PIDs are written. Deeper processes are read through /proc.
#define LEVELS 8
// MAX_PID_NS_LEVEL of the kernel is 32: with this the verifier sees that numbers
// of levels are small.
#define ANY_LEVEL 63
// How many PIDs that follow each other go to the same reader.
#define SHARE 16

// There is more to be read of the process through /proc.
// It has a namespace among its descriptors:
#define HOLDS_DESCRIPTOR 1
// It gave up what was being read, or another thread takes its leader's place:
#define CHANGED 2

// `Record` of record.rs, word by word.
struct record {
    u64 ns_id;           // of its PID namespace; 0 before Linux 6.18
    u64 children_ns_id;  // of that for its children
    u64 start;           // nanoseconds after boot
    u32 pid, parent;     // as the viewer's PID namespace has them, or 0
    u32 uid;             // real user, as the initial user namespace has it
    u32 state, exit_state, flags;
    u32 living, threads; // threads that do not exit, all threads
    u32 namespace, children_namespace, mount_namespace; // inode numbers
    u32 has_memory;      // 1 until it gives it up by exiting; 0 of the kernel's threads
    u32 more;            // HOLDS_DESCRIPTOR and so on
    u32 levels;          // how many PIDs it has, of which the first are these
    u32 nspid[LEVELS];
    u64 comm[2];         // 16 bytes of text
};

// A table of descriptors, and where in it look_at() is.
struct table {
    struct file **files;
    u64 *open;
    u64 bits;                         // which of those to come are open
    u64 inode;                        // number_of() that of the last one
    u64 file_system;                  // likewise, that it is on, which is not nsfs
    u32 holds;
};

static long look_at(u64 number, struct table *table);

// A pointer as a number, to be compared alone: it is not the same number. The
// verifier distinguishes pointers by what they lead to, and goes through what
// follows for each of them.
INLINE u64 number_of(const void *pointer) {
    u64 number = -(u64)pointer;
    // Keeps the compiler from finding the pointer in it.
    asm volatile("" : "+r"(number));
    return number;
}

// Whether a number is not 0, without a branch, after which the verifier would go
// through all that follows twice.
INLINE u32 is_set(u64 number) {
    u64 negative = -number;
    // Keeps the compiler from a branch.
    asm volatile("" : "+r"(negative));
    return (number | negative) >> 63;
}

// How many bits a number has up to the highest that is set, without a branch,
// each of which the verifier would follow.
INLINE u32 length(u64 bits) {
    for (int i = 1; i < 64; i *= 2) bits |= bits >> i;
    // Now counts them: in pairs, fours and eights, whose sums end up on top.
    bits -= bits >> 1 & 0x5555555555555555;
    bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333);
    bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return bits * 0x0101010101010101 >> 56;
}

// Whether a namespace is among the descriptors of a process.
INLINE u32 holds_descriptor(struct task_struct *task) {
    struct files_struct *files = 0, *again = 0;
    READ(files, task->files);
    struct fdtable *descriptors = 0;
    struct table table = {};
    u32 count = 0;
    READ(descriptors, files->fdt);
    READ(count, descriptors->max_fds);
    READ(table.files, descriptors->fd);
    READ(table.open, descriptors->open_fds);
    // A table has room for a multiple of 64, at least for one, and most of it is
    // empty. Of none nothing was read.
    if (count - 64 > MOST_DESCRIPTORS) return is_set(number_of(files)) * CHANGED;
    u64 last = 0;
    READ_AT(last, &table.open[count / 64 - 1]);
    loop(count - 64 + length(last), look_at, &table, 0);
    READ(again, task->files);
    return table.holds | is_set(number_of(again) ^ number_of(files)) * CHANGED;
}

// Whether another thread of the viewer gets a process. Where the viewer has one
// thread, that gets all of them. Where it has more, two of them read at a time,
// each from an iterator of its own: the first thread of the viewer, and another.
INLINE int is_anothers(struct task_struct *viewer, struct task_struct *task) {
    u64 ids = get_current_pid_tgid();
    u32 pid = task->tgid, is_first = (u32)ids == ids >> 32;
    if (pid / SHARE % 2 != is_first) return 0;
    struct signal_struct *signal = 0;
    int threads = 0;
    READ(signal, viewer->signal);
    READ(threads, signal->nr_threads);
    return threads > 1;
}

INLINE int write_record(struct bpf_iter__task *context, int search) {
    struct task_struct *task = context->task;
    if (!task) return 0;
    task = STRUCT(task_struct, task);
    // Threads other than the first are not told apart here. But one that exits may
    // be the first one of before, whose place and number another takes just now
    // (execve(2)), and which may be all that is shown of the process.
    u64 is_other = task->pid ^ task->tgid;
    if (is_other && !(task->flags & EXITING)) return 0;

    // The viewer is who reads from the iterator.
    struct task_struct *viewer = STRUCT(task_struct, (void *)get_current_task());
    if (is_anothers(viewer, task)) return 0;
    struct pid *pid = 0;
    u32 top = 0;
    READ(pid, viewer->thread_pid);
    READ(top, pid->level);

    u32 level = 0;
    struct signal_struct *signal = 0;
    READ(signal, task->signal);
    pid = 0;
    READ(pid, signal->pids[TGID]);
    // It has just been reaped.
    if (!pid) return 0;
    READ(level, pid->level);
    if (level < top) return 0;
    u32 levels = level - top + 1;

    struct record record = {};
    record.levels = levels;
    record.more = is_set(is_other) * CHANGED;
    struct pid_namespace *viewers, *own = 0;
    // In blocks, as a program has 512 bytes of stack for all that it calls.
    {
        struct upid numbers[LEVELS] = {};
        u64 size = sizeof(numbers[0]) * (levels > LEVELS ? LEVELS : levels);
        // Keeps the compiler from computing the size again after the check of it.
        asm volatile("" : "+r"(size));
        if (size > sizeof(numbers)) return 0;
        probe_read_kernel(numbers, size, &pid->numbers[top & ANY_LEVEL]);
#pragma unroll
        for (int i = 0; i < LEVELS; i++) record.nspid[i] = numbers[i].nr;
        record.pid = numbers[0].nr;
        // The iterator goes through the PIDs of this namespace.
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
        record.more |= holds_descriptor(task);
    }

    // Last, as the verifier follows both ways to the end. In the initial PID
    // namespace a process has the number by which the kernel itself knows it.
    struct task_struct *parent = 0;
    READ(parent, task->real_parent);
    if (!top) {
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

// For --search processes.
SECTION("processes") int pidns_processes(struct bpf_iter__task *context) {
    return write_record(context, 0);
}

// For descriptors, mounts and namespaces for children as well.
SECTION("holders") int pidns_holders(struct bpf_iter__task *context) {
    return write_record(context, 1);
}

// Looks at a descriptor; 1 ends the loop. Descriptors of one file, or on one
// file system, often come one after the other.
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
