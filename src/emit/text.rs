//! A tree for people: a line for each namespace with what is asked first, its
//! members under it with their PIDs in every level, then nested namespaces.

use std::io::{self, Write};

use anstyle::AnsiColor;

use super::describe::{Emphasis, ProcessLabel, held_by, summary};
use super::{Emitter, Sanitized, Style};
use crate::graph::PidGraph;
use crate::model::{Namespace, Process};

/// A text tree.
pub struct Text {
    lines: Lines,
    palette: Palette,
}

/// The pieces that a tree is drawn with.
struct Lines {
    inner: &'static str,
    last: &'static str,
    bar: &'static str,
    blank: &'static str,
    arrow: &'static str,
}

const UTF8: Lines =
    Lines { inner: "├─ ", last: "└─ ", bar: "│  ", blank: "   ", arrow: " → " };
const ASCII: Lines = Lines { inner: "|- ", last: "`- ", bar: "|  ", blank: "   ", arrow: " -> " };

/// Colours that are legible on a dark and on a light background.
struct Palette {
    id: anstyle::Style,
    line: anstyle::Style,
    dead: anstyle::Style,
    nascent: anstyle::Style,
    unknown: anstyle::Style,
    inferred: anstyle::Style,
}

const COLORS: Palette = Palette {
    id: AnsiColor::Cyan.on_default().bold(),
    line: anstyle::Style::new().dimmed(),
    dead: AnsiColor::Red.on_default().bold(),
    nascent: AnsiColor::Magenta.on_default(),
    unknown: AnsiColor::Magenta.on_default(),
    inferred: anstyle::Style::new().italic(),
};
const PLAIN: Palette = Palette {
    id: anstyle::Style::new(),
    line: anstyle::Style::new(),
    dead: anstyle::Style::new(),
    nascent: anstyle::Style::new(),
    unknown: anstyle::Style::new(),
    inferred: anstyle::Style::new(),
};

impl Text {
    /// A tree of that style.
    pub fn new(style: Style) -> Self {
        Self {
            lines: if style.ascii { ASCII } else { UTF8 },
            palette: if style.color { COLORS } else { PLAIN },
        }
    }
}

impl Emitter for Text {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        let mut tree = Tree { text: self, graph, out, prefix: String::new() };
        for root in graph.roots() {
            tree.namespace(root)?;
        }
        let unplaced: Vec<_> = graph.unplaced().collect();
        tree.unplaced(&unplaced)
    }
}

struct Tree<'a> {
    text: &'a Text,
    graph: &'a PidGraph,
    out: &'a mut dyn Write,
    /// The lines of the levels above, drawn before every line.
    prefix: String,
}

impl Tree<'_> {
    /// A namespace and all below it, as deep as namespaces nest.
    fn namespace(&mut self, namespace: &Namespace) -> io::Result<()> {
        let (lines, palette) = (&self.text.lines, &self.text.palette);
        let id = palette.id;
        write!(self.out, "{id}{}{id:#}  ", namespace.id)?;
        for (index, (emphasis, said)) in
            summary(self.graph, namespace, lines.arrow).iter().enumerate()
        {
            let separator = if index == 0 { "" } else { ", " };
            let style = match emphasis {
                Emphasis::Plain => anstyle::Style::new(),
                Emphasis::Dead => palette.dead,
                Emphasis::Nascent => palette.nascent,
                Emphasis::Unknown => palette.unknown,
                Emphasis::Inferred => palette.inferred,
            };
            write!(self.out, "{separator}{style}{}{style:#}", Sanitized(said))?;
        }
        if let Some(held_by) = held_by(self.graph, namespace) {
            write!(self.out, "; {}", Sanitized(held_by))?;
        }
        self.out.write_all(b"\n")?;
        let children = self.graph.children(namespace);
        self.members(&self.graph.members(namespace), !children.is_empty())?;
        for (index, child) in children.iter().enumerate() {
            let last = index + 1 == children.len();
            self.branch(last)?;
            let before = self.prefix.len();
            self.prefix.push_str(if last { lines.blank } else { lines.bar });
            self.namespace(child)?;
            self.prefix.truncate(before);
        }
        Ok(())
    }

    fn members(&mut self, members: &[&Process], more: bool) -> io::Result<()> {
        let arrow = self.text.lines.arrow;
        for (index, process) in members.iter().enumerate() {
            self.branch(!more && index + 1 == members.len())?;
            writeln!(self.out, "{}", Sanitized(ProcessLabel { process, arrow }))?;
        }
        Ok(())
    }

    /// The start of a line.
    fn branch(&mut self, last: bool) -> io::Result<()> {
        let lines = &self.text.lines;
        let style = self.text.palette.line;
        let branch = if last { lines.last } else { lines.inner };
        write!(self.out, "{style}{}{branch}{style:#}", self.prefix)
    }

    fn unplaced(&mut self, processes: &[&Process]) -> io::Result<()> {
        let style = self.text.palette.inferred;
        match processes.len() {
            0 => return Ok(()),
            1 => writeln!(
                self.out,
                "{style}unknown{style:#}  1 process whose namespace is ambiguous"
            )?,
            count => writeln!(
                self.out,
                "{style}unknown{style:#}  {count} processes whose namespaces are ambiguous"
            )?,
        }
        self.members(processes, false)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::model::{
        BlockReason, Blocker, Container, Evidence, Holder, NamespaceId, NamespaceState, Pid,
        Snapshot,
    };
    use crate::testing::{farm, namespace, process, snapshot};

    fn check(snapshot: Snapshot, style: Style, expected: &Expect) {
        let mut out = Vec::new();
        Text::new(style).emit(&PidGraph::new(snapshot), &mut out).unwrap();
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn the_tree_of_the_contract() {
        check(
            farm(),
            Style::default(),
            &expect![[r#"
                pid:[4026531836]  3 processes, owner root
                ├─ 1 systemd
                ├─ 2 [kthreadd]
                ├─ 4 containerd-shim
                └─ pid:[4026532179]  2 processes, init 6 → 1 farm, docker 3f2a1b9c04de, owner root
                   ├─ 6 → 1 farm
                   ├─ 7 → 2 sleep
                   └─ pid:[4026532180]  dead: its init is gone, forks into it fail; held by 4 containerd-shim (fd 9)
            "#]],
        );
    }

    #[test]
    fn ascii_lines_and_arrows() {
        check(
            farm(),
            Style { ascii: true, ..Style::default() },
            &expect![[r#"
                pid:[4026531836]  3 processes, owner root
                |- 1 systemd
                |- 2 [kthreadd]
                |- 4 containerd-shim
                `- pid:[4026532179]  2 processes, init 6 -> 1 farm, docker 3f2a1b9c04de, owner root
                   |- 6 -> 1 farm
                   |- 7 -> 2 sleep
                   `- pid:[4026532180]  dead: its init is gone, forks into it fail; held by 4 containerd-shim (fd 9)
            "#]],
        );
    }

    #[test]
    fn colours_end_where_they_began() {
        let mut out = Vec::new();
        let text = Text::new(Style { color: true, ..Style::default() });
        text.emit(&PidGraph::new(farm()), &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(
            out.starts_with("\u{1b}[1m\u{1b}[36mpid:[4026531836]\u{1b}[0m  3 processes"),
            "{out}"
        );
        assert!(
            out.contains("\u{1b}[1m\u{1b}[31mdead: its init is gone, forks into it fail\u{1b}[0m;")
        );
        let mut plain = Vec::new();
        let mut strip = anstream::StripStream::new(&mut plain);
        strip.write_all(out.as_bytes()).unwrap();
        let mut expected = Vec::new();
        Text::new(Style::default()).emit(&PidGraph::new(farm()), &mut expected).unwrap();
        assert_eq!(plain, expected);
    }

    fn blocker(pid: Pid, reason: BlockReason, reaper: Option<Pid>) -> Blocker {
        Blocker { pid, comm: "sleep".into(), reason, reaper }
    }

    /// What is said of the dead namespace of the farm, which has no member,
    /// where that is what its init 6 waits for.
    fn said_of_the_dead(blocked_by: Vec<Blocker>) -> String {
        let mut snapshot = farm();
        snapshot.namespaces[2].init = Pid::new(6);
        snapshot.namespaces[2].blocked_by = blocked_by;
        snapshot.namespaces[2].holders.clear();
        let mut out = Vec::new();
        Text::new(Style::default()).emit(&PidGraph::new(snapshot), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let line = text.lines().last().unwrap();
        line.rsplit_once("dead: its init 6 ").expect("is dead").1.to_owned()
    }

    #[test]
    fn what_a_terminated_init_waits_for_is_read_and_not_concluded_anew() {
        let (init, other, reaper) = (Pid::new(6).unwrap(), Pid::new(9).unwrap(), Pid::new(4));
        let gone = Pid::new(77);
        for (pid, reason, reaper, expected) in [
            (init, BlockReason::Zombie, reaper, "is a zombie that 4 containerd-shim does not reap"),
            (init, BlockReason::Zombie, gone, "is a zombie that 77 does not reap"),
            (init, BlockReason::Zombie, None, "is a zombie"),
            (
                other,
                BlockReason::Zombie,
                reaper,
                "has terminated but waits for zombie 9, which 4 containerd-shim does not reap",
            ),
            (
                init,
                BlockReason::Uninterruptible,
                None,
                "has terminated but is in uninterruptible sleep",
            ),
            (other, BlockReason::Zombie, None, "has terminated but waits for zombie 9"),
            (
                other,
                BlockReason::Uninterruptible,
                None,
                "has terminated but waits for 9 sleep, which is in uninterruptible sleep",
            ),
        ] {
            let said = said_of_the_dead(vec![blocker(pid, reason, reaper)]);
            assert_eq!(said, format!("{expected}, forks into it fail"));
        }
        let said = said_of_the_dead(Vec::new());
        assert_eq!(said, "has terminated but is not gone yet, forks into it fail");
    }

    #[test]
    fn a_holder_keeps_its_name_where_its_process_is_not_shown() {
        let mut snapshot = farm();
        snapshot.processes.retain(|process| process.pid != Pid::new(4).unwrap());
        snapshot.namespaces[2].holders =
            vec![Holder::Fd { pid: Pid::new(4).unwrap(), comm: Some("runc".into()), fd: 9 }];
        snapshot.namespaces[2].state = NamespaceState::Unknown;
        let mut out = Vec::new();
        Text::new(Style::default()).emit(&PidGraph::new(snapshot), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.ends_with(
                "state unknown: whether it has an init, or had one, cannot be proved, \
                 owner root; held by 4 runc (fd 9)\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn every_kind_of_trouble_is_told_apart() {
        let (host, init, zombie) = (10, Pid::new(6).unwrap(), Pid::new(9).unwrap());
        let mut namespaces: Vec<_> =
            [20, 30, 40, 50].map(|inode| namespace(inode, Some(host))).into();
        namespaces.push(namespace(host, None));
        for dead in &mut namespaces[..2] {
            dead.state = NamespaceState::Dead;
        }
        namespaces[2].state = NamespaceState::Nascent;
        namespaces[2].owner.as_mut().unwrap().user_namespace = 7;
        namespaces[2].holders = (3..8)
            .map(|raw| Holder::PidForChildren {
                pid: Pid::new(2).unwrap(),
                comm: None,
                tid: Pid::new(raw).unwrap(),
            })
            .collect();
        for (namespace, zombie) in namespaces.iter_mut().zip([init, zombie]) {
            namespace.blocked_by = vec![blocker(zombie, BlockReason::Zombie, Pid::new(2))];
        }
        namespaces[3].id = NamespaceId::Unread(Pid::new(12).unwrap());
        namespaces[3].evidence = Evidence::Inferred;
        namespaces[3].owner.as_mut().unwrap().user_namespace = 7;
        namespaces[3].owner.as_mut().unwrap().user = None;
        namespaces[3].container =
            Some(Container { runtime: "lxc".into(), id: "web".into(), pod: Some("6ba7".into()) });
        namespaces[3].holders = vec![
            Holder::Mount { path: "/run/a\nb".into(), mount_namespace: 99 },
            Holder::PidForChildren { pid: Pid::INIT, comm: None, tid: Pid::INIT },
        ];
        let mut processes = vec![
            process(&[2], Some(host)),
            process(&[6, 1], Some(20)),
            process(&[8, 1], Some(30)),
            process(&[9, 4], Some(30)),
            process(&[12, 1], None),
            process(&[15, 7], None),
        ];
        processes[4].namespace = Some(NamespaceId::Unread(Pid::new(12).unwrap()));
        processes[1].state = 'Z';
        processes[1].ppid = Pid::new(2);
        processes[3].state = 'Z';
        processes[3].ppid = Pid::new(2);
        let found = snapshot(namespaces, processes);
        assert_eq!(found.namespaces[0].init, Some(init));
        check(
            found,
            Style::default(),
            &expect![[r#"
                pid:[10]  1 process, owner root
                ├─ 2 sleep
                ├─ pid:[20]  dead: its init 6 is a zombie that 2 sleep does not reap, forks into it fail, 1 process
                │  └─ 6 → 1 sleep (zombie)
                ├─ pid:[30]  dead: its init 8 has terminated but waits for zombie 9, which 2 sleep does not reap, forks into it fail, 2 processes
                │  ├─ 8 → 1 sleep
                │  └─ 9 → 4 sleep (zombie)
                ├─ pid:[40]  nascent: no first process yet; held by 2 sleep (pid_for_children of thread 3), 2 sleep (pid_for_children of thread 4), 2 sleep (pid_for_children of thread 5) and 2 more
                └─ pid:[?12]  1 process, init 12 → 1 sleep, lxc web of pod 6ba7, owner uid 0 in user:[7], inferred; held by mount /run/a\nb (mnt:[99])
                   └─ 12 → 1 sleep
                unknown  1 process whose namespace is ambiguous
                └─ 15 → 7 sleep
            "#]],
        );
    }
}
