//! Writes the PID namespace hierarchy as a tree, with the holders and members of each namespace.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use unicode_width::UnicodeWidthStr as _;

use super::tree::{Branch, Place, TreeDrawer};
use crate::emit::Style;
use crate::graph::PidGraph;
use crate::model::{Evidence, FilterOption, Namespace, NamespaceId, NamespaceState};
use crate::query::fold::{Drawn, Folding, Siblings, TreeRow};
use crate::wording::advice::Adviser;
use crate::wording::limit::{failure, limit_text};
use crate::wording::limit_advice::limit_advice;
use crate::wording::line::{Emphasis, Line};
use crate::wording::namespace::{ARROW_MEANS, DEAD_MEANS, Describe, INFERRED_MEANS, is_wrong};
use crate::wording::phrase::{Count, Symbols, unplaced};
use crate::wording::sharing::add_sharing;

/// Maximum number of holders to list for a namespace.
const HOLDERS: usize = 40;

/// Maximum number of `nsenter` commands to show.
const ENTRANCES: usize = 3;

/// Maximum level of indentation. Deeper trees would be unreadable and slow to draw.
const DEEPEST: usize = 36;

/// Writes a graph.
pub fn write(graph: &PidGraph, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let folding = if style.nested {
        Folding::of_trees(graph, !style.unfolded)
    } else {
        Folding::new(graph, !style.unfolded)
    };
    let mut rows = HashMap::new();
    let mut depth = 0;
    for (namespace, level) in graph.tree() {
        depth = depth.max(level);
        if style.nested {
            let members = folding.tree_rows(namespace);
            let deepest = members.iter().map(|row| level + row.level).max().unwrap_or(0);
            depth = depth.max(deepest.min(DEEPEST));
            rows.insert(namespace.id, members);
        }
    }
    let mut hierarchy = Hierarchy {
        describe: Describe::new(&folding, style.symbols()),
        folding: &folding,
        rows,
        graph,
        style,
        tree: TreeDrawer::new(style, depth, out),
        line: Line::default(),
    };
    hierarchy.full_limits()?;
    for root in folding.tops() {
        hierarchy.namespaces(&root, Place::ROOT, false)?;
    }
    hierarchy.unplaced()?;
    if style.terminal || is_wrong(graph.snapshot()) {
        hierarchy.last_lines()?;
    }
    hierarchy.entrances()
}

struct Hierarchy<'a, 'o> {
    describe: Describe<'a>,
    folding: &'o Folding<'a>,
    /// The member rows of each namespace that is not drawn yet. Empty unless the style is nested.
    rows: HashMap<NamespaceId, Vec<TreeRow<'a>>>,
    graph: &'a PidGraph,
    style: Style,
    tree: TreeDrawer<'o>,
    line: Line,
}

impl<'a> Hierarchy<'a, '_> {
    /// Draws one namespace (or one line that stands for several folded namespaces) and everything
    /// under it in the tree.
    fn namespaces(
        &mut self,
        siblings: &Siblings<'a>,
        place: Place,
        in_each: bool,
    ) -> io::Result<()> {
        let Some(namespace) = siblings.first() else { return Ok(()) };
        let of_each = in_each || matches!(siblings, Siblings::Alike(_));
        let mut holders = if of_each { Vec::new() } else { self.describe.kept_by(namespace) };
        let most = if self.folding.folds() { HOLDERS } else { usize::MAX };
        // If only one holder remains, list it, because "kept by 1 more" would save no lines.
        let more = holders.len().checked_sub(most).filter(|&more| more > 1);
        if more.is_some() {
            holders.truncate(most);
        }
        let rows = self.rows.remove(&namespace.id);
        let rows = rows.unwrap_or_else(|| self.folding.tree_rows(namespace));
        let children = self.folding.children(namespace);
        let tops = rows.iter().filter(|row| row.level == 0).count();
        let mut left = holders.len() + usize::from(more.is_some()) + tops + children.len();
        self.describe.heading(siblings, in_each, &mut self.line);
        add_sharing(self.graph, siblings, in_each, &mut self.line);
        self.draw(place, left > 0)?;
        let mut next = || {
            left -= 1;
            Place { level: place.level_below(), branch: Branch::before(left) }
        };
        for holder in &holders {
            holder.describe("", &mut self.line);
            self.draw(next(), false)?;
        }
        if let Some(more) = more {
            self.line.plain("", format_args!("kept by {} more", Count(more)));
            self.draw(next(), false)?;
        }
        self.members(rows, place.level_below(), children.len(), of_each)?;
        for (index, child) in children.iter().enumerate() {
            let branch = Branch::before(children.len() - index - 1);
            self.namespaces(child, Place { level: place.level_below(), branch }, of_each)?;
        }
        Ok(())
    }

    /// Writes the limits that have been reached, each with advice.
    fn full_limits(&mut self) -> io::Result<()> {
        let limits = self.graph.snapshot().limits.iter().flatten();
        let full: Vec<_> = limits.filter(|limit| limit.full == Some(true)).collect();
        let adviser = Adviser { graph: self.graph, live: self.graph.live() };
        for limit in &full {
            self.line.part("", Emphasis::Dead, format_args!("{}:", failure(limit.kind)));
            self.line.words(" ", &limit_text(self.graph, limit));
            self.draw(Place::ROOT, false)?;
            for advice in limit_advice(&adviser, limit) {
                self.line.command("", &format!("  {advice}"));
                self.draw(Place::ROOT, false)?;
            }
        }
        if full.is_empty() { Ok(()) } else { self.draw(Place::ROOT, false) }
    }

    /// Draws the members of a namespace. `more` is the number of lines that follow at the same
    /// level.
    fn members(
        &mut self,
        rows: Vec<TreeRow<'a>>,
        level: usize,
        more: usize,
        of_each: bool,
    ) -> io::Result<()> {
        let deepest = DEEPEST.max(level);
        let mut rows = rows.into_iter().peekable();
        while let Some(mut row) = rows.next() {
            let mut place = Place {
                level: level + row.level,
                branch: Branch::before(row.siblings_after + if row.level == 0 { more } else { 0 }),
            };
            let mut has_children = row.has_children;
            if place.level >= deepest && row.level > 0 {
                // Rows at the maximum depth or deeper are all drawn as siblings.
                let is_followed = rows.peek().is_some_and(|next| level + next.level >= deepest);
                place.branch = Branch::before(usize::from(is_followed));
                has_children = false;
            }
            if place.level > deepest {
                place.level = deepest;
                // At this depth, the indentation does not show the parent process. With
                // `Below(None)`, the line names the parent.
                row.drawn = Drawn::Below(None);
            }
            self.describe.tree_row(&row, of_each, &mut self.line);
            self.draw(place, has_children)?;
        }
        Ok(())
    }

    fn unplaced(&mut self) -> io::Result<()> {
        let rows = self.folding.unplaced_tree_rows();
        let count: usize = rows.iter().map(|row| row.row.processes().len()).sum();
        if count == 0 {
            return Ok(());
        }
        self.line.part("", Emphasis::Warning, format_args!("unknown"));
        self.line.plain("  ", format_args!("{}", unplaced(count)));
        self.draw(Place::ROOT, true)?;
        self.members(rows, 0, 0, false)
    }

    /// Writes the counts, and explains the arrow, `DEAD` and `inferred` if they occur.
    fn last_lines(&mut self) -> io::Result<()> {
        let snapshot = self.graph.snapshot();
        self.draw(Place::ROOT, false)?;
        let incomplete = if snapshot.complete { "" } else { "; incomplete" };
        let counts = format!("{}{incomplete}.", self.describe.counts());
        let arrow = self.style.symbols().arrow;
        let means = format!("{}.", ARROW_MEANS.replace(Symbols::UNICODE.arrow, arrow));
        self.line.words("", &counts);
        if let Some(example) = self.describe.example().map(|example| format!("{example}:")) {
            // If the counts and the explanation do not fit on one line, start a new line.
            let both = counts.width() + example.width() + means.width() + "   ".len();
            if self.style.width.is_some_and(|width| both > width) {
                self.draw(Place::ROOT, false)?;
            }
            self.line.plain("  ", format_args!("{example}"));
            self.line.words(" ", &means);
        }
        self.draw(Place::ROOT, false)?;
        let is_dead = |namespace: &Namespace| namespace.state == NamespaceState::Dead;
        let is_inferred = |namespace: &Namespace| namespace.evidence == Evidence::Inferred;
        if snapshot.namespaces.iter().any(is_dead) {
            self.meaning(Emphasis::Dead, "DEAD", DEAD_MEANS)?;
        }
        if snapshot.namespaces.iter().any(is_inferred) {
            self.meaning(Emphasis::Inferred, "inferred", INFERRED_MEANS)?;
        }
        Ok(())
    }

    /// Writes the `nsenter` commands for the processes that the user named.
    fn entrances(&mut self) -> io::Result<()> {
        let graph = self.graph;
        let adviser = Adviser { graph, live: graph.live() };
        let named = graph.snapshot().selected.iter().filter(|it| it.by == FilterOption::Pid);
        let named =
            named.flat_map(|it| &it.values).filter_map(|pid| graph.process(pid.parse().ok()?));
        let mut seen = HashSet::new();
        let homes = named.filter_map(|it| Some((it.pid, it.namespace?)));
        let homes = homes.filter(|(_, namespace)| seen.insert(*namespace));
        let commands = homes.filter_map(|(pid, id)| adviser.enter(id, Some(pid)));
        for (index, command) in commands.take(ENTRANCES).enumerate() {
            if index == 0 {
                self.draw(Place::ROOT, false)?;
            }
            self.line.command("", &command);
            self.draw(Place::ROOT, false)?;
        }
        Ok(())
    }

    fn meaning(&mut self, emphasis: Emphasis, word: &str, means: &str) -> io::Result<()> {
        self.line.part("", emphasis, format_args!("{word}:"));
        self.line.words(" ", &format!("{means}."));
        self.draw(Place::ROOT, false)
    }

    fn draw(&mut self, place: Place, has_children: bool) -> io::Result<()> {
        self.tree.line(place, has_children, None, &self.line)?;
        self.line.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::model::{
        BlockReason, Blocker, Container, Holder, Pid, Pod, Process, ProcessDetails, Snapshot,
    };
    use crate::testing::{farm, namespace, process, snapshot};

    fn text(snapshot: Snapshot, style: Style) -> String {
        let mut out = Vec::new();
        write(&PidGraph::new(snapshot), style, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn check(snapshot: Snapshot, style: Style, expected: &Expect) {
        expected.assert_eq(&text(snapshot, style));
    }

    fn terminal(width: usize) -> Style {
        Style { width: Some(width), terminal: true, ..Style::default() }
    }

    #[test]
    fn shows_a_container_and_a_dead_namespace() {
        check(
            farm(),
            Style::default(),
            &expect![[r#"
            pid:[4026531836]  2 processes and 1 kernel thread
            ├─ 1 systemd
            ├─ 4 containerd-shim
            ├─ 2 [kthreadd]
            └─ pid:[4026532179]  farm, docker 3f2a1b9c04de, 2 processes
               ├─ 6 → 1 farm
               ├─ 7 → 2 sleep
               └─ pid:[4026532180]  DEAD: its init has exited
                  └─ kept by 4 containerd-shim: open fd 9

            3 PID namespaces, 1 dead; 5 processes; incomplete.  6 → 1: its PID here → in its own namespace.
            DEAD: starting a process in it fails with "Cannot allocate memory" (ENOMEM).
        "#]],
        );
    }

    #[test]
    fn ascii_output_is_ascii_only() {
        let mut snapshot = farm();
        snapshot.processes[4].comm = "déjà".into();
        let style = Style { ascii: true, ..Style::default() };
        assert!(text(snapshot.clone(), style).is_ascii());
        check(
            snapshot,
            style,
            &expect![[r#"
            pid:[4026531836]  2 processes and 1 kernel thread
            |- 1 systemd
            |- 4 containerd-shim
            |- 2 [kthreadd]
            `- pid:[4026532179]  farm, docker 3f2a1b9c04de, 2 processes
               |- 6 -> 1 farm
               |- 7 -> 2 d\xe9j\xe0
               `- pid:[4026532180]  DEAD: its init has exited
                  `- kept by 4 containerd-shim: open fd 9

            3 PID namespaces, 1 dead; 5 processes; incomplete.  6 -> 1: its PID here -> in its own namespace.
            DEAD: starting a process in it fails with "Cannot allocate memory" (ENOMEM).
        "#]],
        );
    }

    #[test]
    fn wraps_between_parts_below_the_branch() {
        let mut snapshot = farm();
        for raw in 20..40 {
            let mut shim = process(&[raw], Some(4_026_531_836));
            shim.comm = "containerd-shim".into();
            snapshot.processes.push(shim);
        }
        check(
            snapshot,
            terminal(48),
            &expect![[r#"
            pid:[4026531836]
            │ 22 processes and 1 kernel thread
            ├─ 1 systemd
            ├─ 4 containerd-shim
            ├─ 2 [kthreadd]
            ├─ 20 × containerd-shim: 20, 21, 22, 23, 24, 25,
            │    26, 27, and 12 more
            └─ pid:[4026532179]  farm, docker 3f2a1b9c04de,
               │ 2 processes
               ├─ 6 → 1 farm
               ├─ 7 → 2 sleep
               └─ pid:[4026532180]
                  │ DEAD: its init has exited
                  └─ kept by 4 containerd-shim: open fd 9

            3 PID namespaces, 1 dead; 25 processes;
              incomplete.
            6 → 1: its PID here → in its own namespace.
            DEAD: starting a process in it fails with
              "Cannot allocate memory" (ENOMEM).
        "#]],
        );
    }

    #[test]
    fn wraps_wide_names_and_long_arguments() {
        let mut snapshot = farm();
        snapshot.processes[4].comm = "日本語日本語".into();
        snapshot.processes[4].details = Some(Box::new(ProcessDetails {
            args: Some(vec!["sh".into(), "-c".into(), format!("echo {}", "é".repeat(60)).into()]),
            ..ProcessDetails::default()
        }));
        for line in text(snapshot.clone(), terminal(40)).lines() {
            assert!(line.width() <= 40, "{line}");
        }
        check(
            snapshot,
            terminal(40),
            &expect![[r#"
                pid:[4026531836]
                │ 2 processes and 1 kernel thread
                ├─ 1 systemd
                ├─ 4 containerd-shim
                ├─ 2 [kthreadd]
                └─ pid:[4026532179]  farm,
                   │ docker 3f2a1b9c04de, 2 processes
                   ├─ 6 → 1 farm
                   ├─ 7 → 2 日本語日本語 (sh -c
                   │    echo
                   │    éééééééééééééééééééééééééééééééé
                   │    éééééééééééééééééééééééééééé)
                   └─ pid:[4026532180]
                      │ DEAD: its init has exited
                      └─ kept by 4 containerd-shim:
                           open fd 9

                3 PID namespaces, 1 dead; 5 processes;
                  incomplete.
                6 → 1: its PID here → in its own
                  namespace.
                DEAD: starting a process in it fails
                  with "Cannot allocate memory"
                  (ENOMEM).
            "#]],
        );
    }

    #[test]
    fn colours_do_not_change_the_text() {
        let coloured = text(farm(), Style { color: true, ..Style::default() });
        assert!(coloured.contains("\u{1b}[1mfarm\u{1b}[0m, docker 3f2a1b9c04de"), "{coloured}");
        assert!(coloured.contains("DEAD: its init has exited\u{1b}[0m\n"), "{coloured}");
        let mut plain = Vec::new();
        let mut strip = anstream::StripStream::new(&mut plain);
        strip.write_all(coloured.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(plain).unwrap(), text(farm(), Style::default()));
    }

    #[test]
    fn each_kind_of_problem_has_its_own_text() {
        let (host, pid) = (10, |raw| Pid::new(raw).unwrap());
        let mut namespaces: Vec<_> =
            [20, 30, 40, 50].map(|inode| namespace(inode, Some(host))).into();
        namespaces.push(namespace(host, None));
        for dead in &mut namespaces[..2] {
            dead.state = NamespaceState::Dead;
        }
        let blocker = |raw| Blocker {
            pid: pid(raw),
            comm: "sleep".into(),
            reason: BlockReason::Zombie,
            reaper: Some(pid(2)),
        };
        namespaces[0].blocked_by = vec![blocker(6)];
        namespaces[1].blocked_by = vec![blocker(9)];
        namespaces[2].state = NamespaceState::Nascent;
        namespaces[2].holders =
            vec![Holder::PidForChildren { pid: pid(2), comm: None, tid: pid(3) }];
        namespaces[3].owner.as_mut().unwrap().user_namespace = 7;
        namespaces[3].evidence = Evidence::Inferred;
        let mut processes = vec![
            process(&[2], Some(host)),
            process(&[6, 1], Some(20)),
            process(&[8, 1], Some(30)),
            process(&[9, 4], Some(30)),
            process(&[12, 1], Some(50)),
            process(&[13, 7], Some(50)),
            process(&[15, 7], None),
        ];
        for zombie in [1, 3] {
            processes[zombie].state = 'Z';
            processes[zombie].ppid = Pid::new(2);
        }
        processes[5].ppid = Pid::new(2);
        check(
            snapshot(namespaces, processes),
            terminal(80),
            &expect![[r#"
            pid:[10]  1 process
            ├─ 2 sleep
            ├─ pid:[20]  DEAD: its init 6 has exited, stuck until 2 sleep reaps it; sleep,
            │  │ 1 process
            │  └─ 6 → 1 sleep, zombie of 2 sleep
            ├─ pid:[30]  DEAD: its init 8 has exited, stuck until 2 sleep reaps zombie 9;
            │  │ sleep, 2 processes
            │  ├─ 8 → 1 sleep
            │  └─ 9 → 4 sleep, zombie of 2 sleep
            ├─ pid:[40]  not started yet (nascent): no process in it
            │  └─ kept by 2 sleep: children of its thread 3 would start here
            └─ pid:[50]  sleep, 2 processes, owner root in user:[7], inferred
               ├─ 12 → 1 sleep
               └─ 13 → 7 sleep, entered by 2 sleep
            unknown  1 process whose namespace is ambiguous
            └─ 15 → 7 sleep

            5 PID namespaces, 2 dead, 1 nascent; 7 processes.
            6 → 1: its PID here → in its own namespace.
            DEAD: starting a process in it fails with "Cannot allocate memory" (ENOMEM).
            inferred: derived from PIDs, because the kernel did not report it.
        "#]],
        );
    }

    /// Returns a snapshot of a container with zombies, workers, and processes that entered from
    /// outside the container.
    fn trees() -> Snapshot {
        let (host, inner) = (10, 20);
        let member = |nspid: &[u32], ppid, comm: &str| Process {
            ppid: Pid::new(ppid),
            comm: comm.into(),
            ..process(nspid, Some(if nspid.len() > 1 { inner } else { host }))
        };
        let mut processes = vec![member(&[1], 0, "systemd")];
        for pid in 2..6 {
            let thread = member(&[pid], if pid == 2 { 0 } else { 2 }, "kworker");
            processes.push(Process { kernel_thread: true, ..thread });
        }
        processes.push(member(&[10], 1, "containerd-shim"));
        processes.push(member(&[11], 1, "docker"));
        processes.push(member(&[30, 1], 10, "nginx"));
        for worker in 0..5 {
            processes.push(member(&[31 + worker, 2 + worker], 30, "worker"));
            processes.push(member(&[41 + worker, 12 + worker], 31 + worker, "cgi"));
        }
        processes.push(member(&[50, 21], 11, "sh"));
        processes.push(member(&[51, 22], 50, "make"));
        processes.push(member(&[52, 23], 1, "left"));
        for (pid, ppid) in [(60, 30), (61, 11)] {
            processes.push(Process { state: 'Z', ..member(&[pid, pid - 20], ppid, "gone") });
        }
        snapshot(vec![namespace(host, None), namespace(inner, Some(host))], processes)
    }

    #[test]
    fn members_nest_below_their_parents() {
        let style = Style { nested: true, ..terminal(60) };
        check(
            trees(),
            style,
            &expect![[r#"
            pid:[10]  3 processes and 4 kernel threads
            ├─ 1 systemd
            │  ├─ 10 containerd-shim
            │  └─ 11 docker
            ├─ 4 kernel threads
            └─ pid:[20]  nginx, 16 processes
               ├─ 30 → 1 nginx, child of 10 containerd-shim
               │  ├─ 60 → 40 gone, zombie
               │  └─ 5 × worker like this: 31 → 2, 32 → 3, 33 → 4,
               │     │ 34 → 5, 35 → 6
               │     └─ cgi
               ├─ 50 → 21 sh, entered by 11 docker
               │  └─ 51 → 22 make
               ├─ 52 → 23 left, entered, reparented to 1 systemd
               └─ 61 → 41 gone, zombie of 11 docker

            2 PID namespaces; 23 processes.
            30 → 1: its PID here → in its own namespace.
        "#]],
        );
        let unfolded = text(trees(), Style { unfolded: true, ..style });
        assert_eq!(unfolded.matches("cgi").count(), 5, "{unfolded}");
        assert!(!unfolded.contains("like this"), "{unfolded}");
        let ascii = text(trees(), Style { ascii: true, ..style });
        assert!(ascii.is_ascii(), "{ascii}");
    }

    #[test]
    fn a_process_shows_only_the_namespaces_that_its_init_or_the_parents_does_not_use() {
        let mut snapshot = farm();
        for (index, net) in [(0, 6), (3, 7), (4, 8)] {
            let others = [("ipc".into(), 5), ("net".into(), net)];
            snapshot.processes[index].details.get_or_insert_default().namespaces =
                Some(others.into());
        }
        let text = text(snapshot, Style::default());
        assert!(text.contains("1 systemd, ipc:[5], net:[6]\n"), "{text}");
        assert!(text.contains("6 → 1 farm, net:[7]\n"), "{text}");
        assert!(text.contains("7 → 2 sleep, net:[8]\n"), "{text}");
    }

    #[test]
    fn the_topmost_process_of_another_container_names_it() {
        let mut snapshot = trees();
        for process in
            snapshot.processes.iter_mut().filter(|it| [50, 51].contains(&it.pid.as_u32()))
        {
            let details = process.details.get_or_insert_default();
            details.container = Some(Container::new("docker", "side"));
        }
        let nested = text(snapshot.clone(), Style { nested: true, ..Style::default() });
        let expected = "50 → 21 sh, of docker side, entered by 11 docker\n   │  └─ 51 → 22 make\n";
        assert!(nested.contains(expected), "{nested}");
        let listed = text(snapshot, Style::default());
        assert!(listed.contains("50 → 21 sh, of docker side\n"), "{listed}");
        assert!(listed.contains("51 → 22 make, of docker side\n"), "{listed}");
    }

    #[test]
    fn namespaces_are_folded_only_if_their_processes_nest_in_the_same_way() {
        let mut containers = vec![namespace(10, None)];
        let mut processes = vec![process(&[1], Some(10))];
        for (first, inode) in (0..5).map(|index| (100 * (index + 1), 20 + u64::from(index))) {
            containers.push(namespace(inode, Some(10)));
            for inner in 1..4 {
                let ppid = if inner == 1 { 1 } else { first + 1 };
                let member = process(&[first + inner, inner], Some(inode));
                processes.push(Process { ppid: Pid::new(ppid), ..member });
            }
        }
        let style = Style { nested: true, ..Style::default() };
        let folded = text(snapshot(containers.clone(), processes.clone()), style);
        assert!(folded.contains("sleep × 5 like this: "), "{folded}");
        let expected = "   └─ sleep, child of sleep\n      ├─ sleep\n      └─ sleep\n";
        assert!(folded.contains(expected), "{folded}");
        // In one namespace, make the third process a child of the second.
        let last = processes.last_mut().unwrap();
        last.ppid = Pid::new(last.pid.as_u32() - 1);
        let folded = text(snapshot(containers, processes), style);
        assert!(folded.contains("sleep × 4 like this: "), "{folded}");
    }

    #[test]
    fn a_line_of_folded_namespaces_names_their_containers() {
        let mut containers = vec![namespace(10, None)];
        let mut processes = vec![process(&[1], Some(10))];
        for inode in 20..24 {
            let mut container = Container::new("containerd", &"5f".repeat(32));
            container.name = (inode % 2 == 0).then(|| format!("app-{inode}"));
            container.pod = (inode > 21).then(|| Pod::new("6ba7b810".to_owned()));
            if let Some(pod) = &mut container.pod {
                (pod.name, pod.namespace) = (Some(format!("web-{inode}")), Some("shop".to_owned()));
            }
            containers.push(Namespace { container: Some(container), ..namespace(inode, Some(10)) });
            let pid = u32::try_from(inode).unwrap();
            processes.push(process(&[pid, 1], Some(inode)));
        }
        let text = text(snapshot(containers, processes), Style::default());
        let expected = "sleep × 4 like this: pid:[20] app-20, pid:[21] 5f5f5f5f5f5f, pid:[22] shop/web-22 app-22, \
             pid:[23] shop/web-23; containerd, 1 process each\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn counts_holders_beyond_forty() {
        let mut snapshot = farm();
        let mount = |number| Holder::Mount { path: format!("/run/{number}"), mount_namespace: 9 };
        snapshot.namespaces[2].holders = (0..4000).map(mount).collect();
        let folded = text(snapshot.clone(), Style::default());
        assert_eq!(folded.matches("kept by mount").count(), 40);
        assert!(folded.contains("└─ kept by 3,960 more\n"), "{folded}");
        let all = text(snapshot, Style { unfolded: true, ..Style::default() });
        assert_eq!(all.matches("kept by mount").count(), 4000);
    }

    #[test]
    fn deep_chains_fit_the_width() {
        let mut namespaces = vec![namespace(100, None)];
        let mut processes = vec![process(&[1], Some(100))];
        for level in 1..=32_u32 {
            namespaces.push(namespace(u64::from(100 + level), Some(u64::from(99 + level))));
            let mut nspid: Vec<u32> = (0..level).map(|above| 100 * level + above).collect();
            nspid.push(1);
            processes.push(process(&nspid, Some(u64::from(100 + level))));
        }
        let text = text(snapshot(namespaces, processes), terminal(80));
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        let last = text.lines().rfind(|line| line.contains("sleep")).unwrap();
        assert_eq!(last.trim_start(), "└─ 3200 → … → 3231 → 1 sleep");
    }
}
