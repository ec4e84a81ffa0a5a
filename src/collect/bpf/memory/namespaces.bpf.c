// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
//
// Three BPF programs for `--search kernel`. The first lists all PID namespaces in
// memory. The other two list the tasks and the open descriptors that keep namespaces
// alive, but leave out namespaces with a living init. The programs change nothing and
// reveal no kernel addresses.
//
// The structs declare only the fields that are used. The loader fills in their offsets.
//
// The RCU read-side critical section of a program keeps PID namespaces in memory. Other
// objects may be freed meanwhile, so their data may be wrong. pidns uses a record only
// if the namespace in the record is also in the list.

#include "common.bpf.h"
#include "memory/memory.bpf.h"

struct list_head { struct list_head *next; } KERNEL;
struct ns_tree_node { struct list_head ns_list_entry; } KERNEL;
struct ns_common {
    u32 ns_type;
    void *ops;
    u32 inum;
    u64 ns_id;
    struct list_head ns_list_node;    // Linux 6.18
    struct ns_tree_node ns_tree_node; // replaces ns_list_node since Linux 6.19
} KERNEL;
struct pid_namespace {
    u32 pid_allocated;
    struct task_struct *child_reaper;
    u32 level;
    struct pid_namespace *parent;
    struct ns_common ns;
} KERNEL;
struct signal_struct { struct pid *pids[4]; } KERNEL;
struct nsproxy { struct pid_namespace *pid_ns_for_children; } KERNEL;
struct task_struct {
    struct task_struct *group_leader;
    struct pid *thread_pid;
    struct signal_struct *signal;
    struct nsproxy *nsproxy;
    void *files;
} KERNEL;
struct super_block { unsigned long s_magic; void *s_fs_info; } KERNEL;
struct inode { struct super_block *i_sb; unsigned long i_ino; void *i_private; } KERNEL;
struct file { struct inode *f_inode; } KERNEL;
struct proc_fs_info { struct pid_namespace *pid_ns; } KERNEL;
struct proc_inode { struct pid *pid; struct inode vfs_inode; } KERNEL;
struct sock_common { u16 skc_family; unsigned char skc_state; } KERNEL;
struct sk_buff { struct sk_buff *next; char cb[48]; } KERNEL;
struct sk_buff_head { struct sk_buff *next; } KERNEL;
struct sock {
    struct sock_common __sk_common;
    struct sk_buff_head sk_receive_queue;
    struct pid *sk_peer_pid;
} KERNEL;
struct socket { struct sock *sk; } KERNEL;
struct socket_alloc { struct socket socket; struct inode vfs_inode; } KERNEL;
struct scm_fp_list { short count; struct file *fp[1]; } KERNEL;
struct unix_skb_parms { struct pid *pid; struct scm_fp_list *fp; } KERNEL;
struct bpf_iter__task_file {
    struct bpf_iter_meta *meta;
    struct task_struct *task;
    u32 fd;
    struct file *file;
} KERNEL;

#define OUTER(type, field, inner) ((struct type *)((char *)(inner) - OFFSET(type, field)))

// The type of a PID namespace, as NS_GET_NSTYPE returns it (ioctl_nsfs(2)).
#define CLONE_NEWPID 0x20000000
#define AF_UNIX 1
// The state of a listening socket of any family.
#define TCP_LISTEN 10
// File system types, see statfs(2).
#define NSFS 0x6e736673
#define PIDFS 0x50494446
#define PROCFS 0x9fa0
#define SOCKFS 0x534f434b
// Maximum number of namespaces to visit. No host has enough memory for this many.
#define MOST_NAMESPACES (1 << 20)
// Maximum nesting depth (MAX_PID_NS_LEVEL in the kernel).
#define MOST_LEVELS 32
// Maximum number of messages to check per queue, since a long read() delays signals.
#define MOST_MESSAGES 4096
// Maximum number of descriptors per message (SCM_MAX_FD in the kernel).
#define MOST_IN_MESSAGE 253
// Maximum number of records per call of the program. The kernel calls the program for
// each open file descriptor of a task, and accepts at most 32 KiB of output per call.
#define MOST_RECORDS 256

// States of a namespace's init.
#define LIVES 0
#define HAS_GONE 1
#define IS_TO_COME 2

INLINE u32 init_of(struct pid_namespace *namespace) {
    struct task_struct *init = 0;
    u32 allocated = 0;
    READ(allocated, namespace->pid_allocated);
    READ(init, namespace->child_reaper);
    if (!(allocated & MAY_ADD)) return HAS_GONE;
    return init ? LIVES : IS_TO_COME;
}

// An element of the list of namespaces, decoded by namespaces.rs (`MemoryNamespace`).
struct listed {
    u64 ns_id;
    u32 inode;
    u32 init;
};

// The list of namespaces. `nodebug` keeps this extern variable out of BTF, because the
// kernel rejects extern variables there.
extern char list __attribute__((nodebug));

// The state of list_next(), which follows the kernel's circular list of namespaces.
struct walk {
    struct pid_namespace *own; // namespace of the viewer (the process that reads)
    struct pid_namespace *at;
    void *ops;                 // the operations of PID namespaces, which identify them
    u32 level;                 // level of the viewer's namespace
    u32 is_below;
    struct pid_namespace *above;
    // The record with the length of the list, decoded by fill_list() in namespaces.rs.
    struct {
        u32 count;
        u32 is_whole;
    } length;
};

static long climb(u64 number, struct walk *walk);
static long list_next(u64 number, struct walk *walk);

// Lists the PID namespace of the process that reads from this iterator (the viewer), and
// all descendants of that namespace.
SECTION("namespaces") int pidns_namespaces(struct bpf_iter__task *context) {
    struct task_struct *task = context->task;
    // The list is made once, for the task that reads from the iterator.
    if (!task || (u64)task != get_current_task()) return 0;
    struct walk walk = {};
    struct pid *pid = 0;
    READ(pid, task->thread_pid);
    walk.own = namespace_of(pid);
    if (!walk.own) return 0;
    walk.at = walk.own;
    READ(walk.ops, walk.own->ns.ops);
    READ(walk.level, walk.own->level);
    loop(MOST_NAMESPACES, list_next, &walk, 0);
    seq_write(context->meta->seq, &walk.length, sizeof(walk.length));
    return 0;
}

// Sets `walk->at` to the next namespace in the kernel's list, and lists that namespace if
// the viewer can see it.
SECTION("namespaces") static long list_next(UNUSED u64 number, struct walk *walk) {
    struct pid_namespace *at = walk->at;
    struct list_head *next = 0;
    void *ops = 0;
    if (EXISTS(at->ns.ns_list_node)) {
        next = &at->ns.ns_list_node;
        READ(next, next->next);
        at = OUTER(pid_namespace, ns.ns_list_node, next);
    } else if (EXISTS(at->ns.ns_tree_node.ns_list_entry)) {
        next = &at->ns.ns_tree_node.ns_list_entry;
        READ(next, next->next);
        at = OUTER(pid_namespace, ns.ns_tree_node.ns_list_entry, next);
    }
    if (!next) return 1;
    walk->at = at;
    // The list head is not part of a namespace. The comparison of `ops` below detects and
    // skips it.
    READ(ops, at->ns.ops);
    if (ops != walk->ops) return 0;
    walk->above = at;
    walk->is_below = walk->level == 0 || at == walk->own;
    if (!walk->is_below) loop(MOST_LEVELS, climb, walk, 0);
    if (walk->is_below) {
        struct listed *listed = look_up(&list, &walk->length.count);
        walk->length.count++;
        if (listed) {
            READ(listed->ns_id, at->ns.ns_id);
            READ(listed->inode, at->ns.inum);
            listed->init = init_of(at);
        }
    }
    // The kernel's list is circular, so the search is complete when it is back at the
    // viewer's namespace.
    walk->length.is_whole = at == walk->own;
    return walk->length.is_whole;
}

// Replaces `walk->above` with its parent namespace. Ends the loop at the viewer's namespace.
SECTION("namespaces") static long climb(UNUSED u64 number, struct walk *walk) {
    struct pid_namespace *parent = 0;
    READ(parent, walk->above->parent);
    walk->above = parent;
    walk->is_below = parent == walk->own;
    return walk->is_below || !parent;
}

// How a task or descriptor keeps a namespace alive (`FoundHolderKind` in namespaces.rs).
#define BY_ITSELF 0
#define BY_PIDFD 1
#define BY_SOCKET 2
#define IN_FLIGHT 3
#define BY_PROCFS 4
#define BY_MEMBER 5
#define FOR_CHILDREN 6
#define BY_LISTENER 7
#define BY_MESSAGE 8
// Marks the record of a descriptor whose socket queue was already searched.
#define SAME_QUEUE 9
// A record that makes read(2) return after a queue has been searched, so that signals are
// handled between queues.
#define SEARCHED_QUEUE 10
// A record about a task. The field `fd` contains the ID of the first task with the same
// descriptor table.
#define HAS_TABLE 11

// A task or descriptor that keeps a namespace alive, decoded by namespaces.rs.
struct kept {
    u64 ns_id;
    u64 file;          // inode number of the open file
    u32 inode;         // inode number of the namespace
    u32 pid, tid;      // the holder, in the viewer's namespace
    u32 fd;
    u32 by;
    u32 spare;
};

// Writes the 64-bit ID and the inode number of a namespace into a record.
INLINE void name(struct kept *kept, struct pid_namespace *namespace) {
    READ(kept->ns_id, namespace->ns.ns_id);
    READ(kept->inode, namespace->ns.inum);
}

// Writes a task's IDs into a record, or returns 0 if the viewer cannot see the task.
INLINE int name_task(struct kept *kept, struct task_struct *task) {
    // The viewer is the task that reads from the iterator.
    struct task_struct *viewer = (void *)get_current_task();
    struct pid *pid = 0;
    u32 top = 0;
    READ(pid, viewer->thread_pid);
    struct pid_namespace *own = namespace_of(pid);
    READ(top, own->level);
    struct signal_struct *signal = 0;
    READ(pid, task->thread_pid);
    kept->tid = number_in(pid, top, own);
    READ(signal, task->signal);
    READ(pid, signal->pids[TGID]);
    kept->pid = number_in(pid, top, own);
    return kept->tid && kept->pid;
}

// A map of the descriptor tables or sockets that this program has visited.
extern char visited __attribute__((nodebug));

// A key of the map `visited` for a descriptor table or a socket.
struct object {
    u64 address;
    u64 file; // inode number of a socket, which differs if the address was reused
};

// Writes a record about the descriptor table of a process, or of a thread that does not
// share the table of its process.
INLINE void write_table(struct kept *kept, struct task_struct *task, struct seq_file *seq) {
    struct task_struct *leader = 0;
    void *table = 0, *leaders = 0;
    READ(table, task->files);
    READ(leader, task->group_leader);
    if (leader != task) READ(leaders, leader->files);
    if (!table || table == leaders) return;
    struct object key = { .address = (u64)table };
    u64 first = kept->tid;
    if (update(&visited, &key, &first, BPF_NOEXIST) == -EEXIST) {
        u64 *known = look_up(&visited, &key);
        if (known) first = *known;
    }
    kept->fd = first;
    kept->by = HAS_TABLE;
    seq_write(seq, kept, sizeof(*kept));
}

// Writes a record for each namespace that a task keeps alive and that has no
// living init.
SECTION("tasks") int pidns_tasks(struct bpf_iter__task *context) {
    struct task_struct *task = context->task;
    if (!task) return 0;
    struct kept kept = {};
    struct pid *pid = 0;
    struct nsproxy *proxy = 0;
    struct pid_namespace *children = 0;
    READ(pid, task->thread_pid);
    struct pid_namespace *own = namespace_of(pid);
    if (!own || !name_task(&kept, task)) return 0;
    if (init_of(own) != LIVES) {
        name(&kept, own);
        kept.by = BY_MEMBER;
        seq_write(context->meta->seq, &kept, sizeof(kept));
    }
    READ(proxy, task->nsproxy);
    READ(children, proxy->pid_ns_for_children);
    if (children && children != own && init_of(children) != LIVES) {
        name(&kept, children);
        kept.by = FOR_CHILDREN;
        seq_write(context->meta->seq, &kept, sizeof(kept));
    }
    write_table(&kept, task, context->meta->seq);
    return 0;
}

// The state of the search for namespaces that one descriptor keeps alive.
struct look {
    struct kept kept;
    struct seq_file *seq;
    struct pid_namespace *last;      // the last namespace that was written
    u64 records;
    struct sk_buff *message;
    struct sk_buff *end;             // marks the end of the queue
    struct scm_fp_list *descriptors; // the descriptors in the message
};

NOINLINE static void keeps(struct look *look, struct pid_namespace *namespace, u32 by);
static long next_message(u64 number, struct look *look);
static long in_message(u64 number, struct look *look);

INLINE void write(struct look *look, u32 by) {
    look->kept.by = by;
    seq_write(look->seq, &look->kept, sizeof(look->kept));
}

// Searches a socket's queue, unless it was searched through another descriptor.
INLINE void search_queue(struct look *look, struct sock *socket) {
    look->end = (void *)&socket->sk_receive_queue;
    READ(look->message, look->end->next);
    if (!look->message || look->message == look->end) return;
    struct object key = { .address = (u64)socket, .file = look->kept.file };
    u64 value = 0;
    if (update(&visited, &key, &value, BPF_NOEXIST) == -EEXIST) {
        write(look, SAME_QUEUE);
        return;
    }
    look->message = look->end;
    look->last = 0;
    loop(MOST_MESSAGES, next_message, look, 0);
    write(look, SEARCHED_QUEUE);
}

// Finds namespaces that `file` keeps alive. `in_flight` is 1 if the file is in an unread socket
// message (SCM_RIGHTS), and 0 if a process has the file open.
INLINE void look_at(struct look *look, struct file *file, int in_flight) {
    struct inode *inode = 0;
    struct super_block *file_system = 0;
    unsigned long magic = 0;
    void *private = 0;
    READ(inode, file->f_inode);
    READ(file_system, inode->i_sb);
    READ(magic, file_system->s_magic);
    if (!in_flight) READ(look->kept.file, inode->i_ino);
    if (magic == NSFS) {
        struct ns_common *common = 0;
        u32 type = 0;
        READ(common, inode->i_private);
        READ(type, common->ns_type);
        if (type == CLONE_NEWPID) keeps(look, OUTER(pid_namespace, ns, common), in_flight ? IN_FLIGHT : BY_ITSELF);
    } else if (magic == PIDFS) {
        READ(private, inode->i_private);
        keeps(look, namespace_of(private), in_flight ? IN_FLIGHT : BY_PIDFD);
    } else if (magic == PROCFS) {
        struct pid_namespace *namespace = 0;
        struct pid *pid = 0;
        READ(private, file_system->s_fs_info);
        READ(namespace, ((struct proc_fs_info *)private)->pid_ns);
        keeps(look, namespace, in_flight ? IN_FLIGHT : BY_PROCFS);
        READ(pid, OUTER(proc_inode, vfs_inode, inode)->pid);
        keeps(look, namespace_of(pid), in_flight ? IN_FLIGHT : BY_PROCFS);
    } else if (magic == SOCKFS) {
        struct sock *socket = 0;
        struct pid *pid = 0;
        u16 family = 0;
        unsigned char state = 0;
        READ(socket, OUTER(socket_alloc, vfs_inode, inode)->socket.sk);
        READ(family, socket->__sk_common.skc_family);
        if (family != AF_UNIX) return;
        READ(state, socket->__sk_common.skc_state);
        READ(pid, socket->sk_peer_pid);
        // For a listening socket, the kernel records the process that called listen(2) as the
        // peer (`sk_peer_pid`).
        u32 by = state == TCP_LISTEN ? BY_LISTENER : BY_SOCKET;
        keeps(look, namespace_of(pid), in_flight ? IN_FLIGHT : by);
        // BPF functions cannot be recursive, so do not search the queue of a socket that
        // is itself in a queue (`in_flight`). Listening sockets queue no messages.
        if (!in_flight && state != TCP_LISTEN) search_queue(look, socket);
    }
}

// Checks whether an open descriptor of a task keeps a namespace alive.
SECTION("descriptors") int pidns_descriptors(struct bpf_iter__task_file *context) {
    struct task_struct *task = context->task;
    struct file *file = context->file;
    if (!task || !file) return 0;
    struct look look = {};
    if (!name_task(&look.kept, task)) return 0;
    look.kept.fd = context->fd;
    look.seq = context->meta->seq;
    look_at(&look, file, 0);
    return 0;
}

// Writes a record about a namespace that a descriptor keeps alive.
SECTION("descriptors") static void keeps(struct look *look, struct pid_namespace *namespace, u32 by) {
    // Copy `look->records` with READ(), to hide its value from the verifier. Otherwise,
    // for each possible value, the verifier would recheck the loops that call this function.
    u64 records = 0;
    READ(records, look->records);
    if (!namespace || namespace == look->last || records >= MOST_RECORDS) return;
    if (init_of(namespace) == LIVES) return;
    look->last = namespace;
    look->records = records + 1;
    name(&look->kept, namespace);
    write(look, by);
}

// Checks whether the next message in a socket's queue keeps a namespace alive.
SECTION("descriptors") static long next_message(UNUSED u64 number, struct look *look) {
    struct sk_buff *message = 0;
    short count = 0;
    struct pid *pid = 0;
    READ(message, look->message->next);
    if (!message || message == look->end) return 1;
    look->message = message;
    struct unix_skb_parms *more = (void *)&message->cb;
    READ(look->descriptors, more->fp);
    if (look->descriptors) {
        READ(count, look->descriptors->count);
        if (count > 0 && count <= MOST_IN_MESSAGE) loop(count, in_message, look, 0);
    }
    READ(pid, more->pid);
    keeps(look, namespace_of(pid), BY_MESSAGE);
    return 0;
}

// Checks whether a file in a Unix socket message (SCM_RIGHTS) keeps a namespace alive.
SECTION("descriptors") static long in_message(u64 number, struct look *look) {
    struct file *file = 0;
    READ(file, look->descriptors->fp[number]);
    look_at(look, file, 1);
    return 0;
}
