//! Finds the containers and pods that match a name or an ID from the user.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::graph::PidGraph;
use crate::model::{Container, Namespace, NotFound, Process};

/// A name of a container or pod, or the beginning of a container ID or pod UID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPattern(String);

/// The part of a container or pod that a pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    /// Name or full ID of the container.
    Container,
    /// Name or full UID of the pod.
    Pod,
    /// Prefix of the container's ID.
    ContainerPrefix,
    /// Prefix of the pod's UID.
    PodPrefix,
}

impl Match {
    fn is_prefix(self) -> bool {
        matches!(self, Self::ContainerPrefix | Self::PodPrefix)
    }

    fn is_of_pod(self) -> bool {
        matches!(self, Self::Pod | Self::PodPrefix)
    }
}

impl ContainerPattern {
    /// Returns `true` if the pattern matches the container or its pod.
    #[must_use]
    pub fn matches(&self, container: &Container) -> bool {
        self.find(container).is_some()
    }

    /// Returns `true` if the pattern matches the container of a process or of its namespace.
    #[must_use]
    pub fn holds(&self, process: &Process, namespace: Option<&Namespace>) -> bool {
        process.other_container().is_some_and(|it| self.matches(it))
            || namespace.and_then(|it| it.container.as_ref()).is_some_and(|it| self.matches(it))
    }

    fn find(&self, container: &Container) -> Option<Match> {
        let Container { id, name, pod, .. } = container;
        let is_name = |name: &Option<String>| name.as_ref() == Some(&self.0);
        let is_id = |id: &str| id.eq_ignore_ascii_case(&self.0);
        if is_name(name) || is_id(id) {
            return Some(Match::Container);
        }
        let is_pod = pod
            .as_ref()
            .is_some_and(|pod| is_name(&pod.name) || is_name(&pod.full_name()) || is_id(&pod.uid));
        if is_pod {
            return Some(Match::Pod);
        }
        if self.is_prefix_of(id) {
            return Some(Match::ContainerPrefix);
        }
        let is_prefix = pod.as_ref().is_some_and(|pod| self.is_prefix_of(&pod.uid));
        is_prefix.then_some(Match::PodPrefix)
    }

    fn is_prefix_of(&self, text: &str) -> bool {
        // The empty pattern is a prefix of every ID.
        let start = text.as_bytes().get(..self.0.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(self.0.as_bytes()))
    }

    /// Finds the containers that match the pattern.
    #[must_use]
    pub fn choose<'a>(&self, graph: &'a PidGraph) -> ChosenContainers<'a> {
        let mut matches: Vec<_> =
            containers(graph).filter_map(|it| Some((self.find(it)?, it))).collect();
        if matches.iter().any(|(found, _)| !found.is_prefix()) {
            // A container named `fe` takes precedence over a container ID that begins with `fe`.
            matches.retain(|(found, _)| !found.is_prefix());
        }
        let keys = matches.iter().map(|(_, it)| (it.runtime.as_str(), it.id.as_str())).collect();
        ChosenContainers { matches, keys }
    }

    /// Fails if the pattern is ambiguous. The error lists everything that the pattern matches.
    pub fn check(&self, graph: &PidGraph) -> Result<(), NotFound> {
        let ChosenContainers { matches, .. } = self.choose(graph);
        let Some(&(_, first)) = matches.first().filter(|_| !self.0.is_empty()) else {
            return Ok(());
        };
        let of_pod = |found: Match| found.is_of_pod();
        // If a container has the same name as its pod, the name refers to the pod.
        let has_pod = matches.iter().any(|(found, _)| of_pod(*found));
        let in_one_pod = || matches.iter().all(|(_, it)| pod_uid(it) == pod_uid(first));
        let is_one = matches.iter().all(|(_, it)| it.id == first.id);
        if is_one || (has_pod && in_one_pod()) {
            return Ok(());
        }
        let mut meanings: Vec<String> = Vec::new();
        for (found, container) in &matches {
            let meaning = match container.pod.as_ref().filter(|_| of_pod(*found)) {
                Some(pod) => format!("pod {}", pod.full_name().unwrap_or(pod.uid.clone())),
                None => container.to_string(),
            };
            if !meanings.contains(&meaning) {
                meanings.push(meaning);
            }
        }
        Err(NotFound::AmbiguousContainer { pattern: self.0.clone(), meanings })
    }
}

fn pod_uid(container: &Container) -> Option<&str> {
    container.pod.as_ref().map(|pod| pod.uid.as_str())
}

/// Iterates over the containers of all namespaces and processes, with duplicates.
fn containers(graph: &PidGraph) -> impl Iterator<Item = &Container> {
    let namespaces = graph.snapshot().namespaces.iter();
    let others = graph.processes().iter().filter_map(Process::other_container);
    namespaces.filter_map(|it| it.container.as_ref()).chain(others)
}

/// The containers that match a pattern.
#[derive(Debug)]
pub struct ChosenContainers<'a> {
    matches: Vec<(Match, &'a Container)>,
    /// Runtime and ID of each container.
    keys: HashSet<(&'a str, &'a str)>,
}

impl ChosenContainers<'_> {
    /// Returns `true` if this container matches the pattern.
    #[must_use]
    pub fn contains(&self, container: &Container) -> bool {
        self.keys.contains(&(container.runtime.as_str(), container.id.as_str()))
    }
}

impl fmt::Display for ContainerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContainerPattern {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pod;
    use crate::testing::{namespace, snapshot};

    fn pattern(text: &str) -> ContainerPattern {
        text.parse().unwrap()
    }

    fn in_pod(id: &str, name: Option<&str>, uid: &str, pod: &str) -> Container {
        let (namespace, pod) = pod.split_once('/').unwrap();
        let pod = Pod {
            name: Some(pod.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..Pod::new(uid.to_owned())
        };
        Container {
            name: name.map(str::to_owned),
            pod: Some(pod),
            ..Container::new("containerd", id)
        }
    }

    #[test]
    fn matches_ids_in_either_case_and_names_exactly() {
        let container = Container {
            pod: Some(Pod::new("6ba7b810-9dad".to_owned())),
            name: Some("Web".to_owned()),
            ..Container::new("docker", "3f2a1b9c")
        };
        for text in ["3f2a", "3F2A1b9c", "6BA7B810-9d", "Web", ""] {
            assert!(pattern(text).matches(&container), "{text}");
        }
        for text in ["f2a", "3f2a1b9c0", "9dad", "\u{e9}", "web", "We"] {
            assert!(!pattern(text).matches(&container), "{text}");
        }
    }

    #[test]
    fn lists_the_meanings_of_an_ambiguous_pattern() {
        let docker = Container { name: Some("web".to_owned()), ..Container::new("docker", "fe12") };
        let containers = [
            docker,
            Container::new("lxc", "fe"),
            in_pod("aa01", None, "u1", "shop/web-0"),
            in_pod("aa02", Some("app"), "u1", "shop/web-0"),
            in_pod("ab03", None, "u2", "test/web-0"),
            in_pod("ab04", Some("app"), "u2", "test/web-0"),
            in_pod("ac05", None, "u3", "shop/nginx"),
            in_pod("ac06", Some("nginx"), "u3", "shop/nginx"),
        ];
        let mut namespaces: Vec<_> =
            (0..containers.len()).map(|it| namespace(10 + it as u64, None)).collect();
        for (namespace, container) in namespaces.iter_mut().zip(containers) {
            namespace.container = Some(container);
        }
        let graph = PidGraph::new(snapshot(namespaces, Vec::new()));
        for (text, expected) in [
            ("web", Ok(vec![10])),
            ("fe", Ok(vec![11])),
            ("shop/web-0", Ok(vec![12, 13])),
            ("u1", Ok(vec![12, 13])),
            ("nginx", Ok(vec![16, 17])),
            ("ac06", Ok(vec![17])),
            ("none", Ok(vec![])),
            ("", Ok((10..18).collect())),
            ("web-0", Err("container web-0 could mean pod shop/web-0 or pod test/web-0")),
            (
                "app",
                Err(
                    "container app could mean pod shop/web-0 app (containerd aa02) or pod test/web-0 app (containerd ab04)",
                ),
            ),
            (
                "aa",
                Err(
                    "container aa could mean pod shop/web-0 (containerd aa01) or pod shop/web-0 app (containerd aa02)",
                ),
            ),
            ("u", Err("container u could mean pod shop/web-0, pod test/web-0 or pod shop/nginx")),
        ] {
            let chosen = pattern(text).choose(&graph);
            let found = graph
                .snapshot()
                .namespaces
                .iter()
                .filter(|it| chosen.contains(it.container.as_ref().unwrap()));
            let found: Vec<_> = found.filter_map(|it| it.id.inode()).collect();
            let result = pattern(text).check(&graph).map(|()| found).map_err(|it| it.to_string());
            assert_eq!(result, expected.map_err(str::to_owned), "{text}");
        }
    }
}
