//! Containers, systemd units and Kubernetes pods.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The runtimes' own tools shorten 64-digit IDs to this many digits.
const SHORT_ID: usize = 12;

/// The container or systemd unit that a cgroup path names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "container"))]
pub struct Container {
    /// The runtime that created the container: docker, containerd, cri-o, podman, lxc,
    /// systemd-nspawn, buildkit, runc, crun or garden. LXD and Incus use the paths of lxc, and
    /// count as lxc. A systemd unit has the runtime systemd. If the cgroup path does not name the
    /// runtime, the value is `kubernetes` for a container in a pod, and `unknown` for any other
    /// container. Later versions may add runtimes.
    pub runtime: String,
    /// ID of the container, which is its name in runtimes such as lxc.
    pub id: String,
    /// Name of the container, read from one of the container runtime's files. Null if the container
    /// has no name, or if the file is missing or unreadable.
    pub name: Option<String>,
    /// The Kubernetes pod that contains the container, or null.
    pub pod: Option<Pod>,
}

impl Container {
    /// Creates a container without a name or pod.
    #[must_use]
    pub fn new(runtime: &str, id: &str) -> Self {
        Self { runtime: runtime.to_owned(), id: id.to_owned(), name: None, pod: None }
    }

    /// Returns `true` if `other` is the same container, even if the name of either one is unknown.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.runtime, &self.id) == (&other.runtime, &other.id)
    }

    /// Returns the ID as the runtime's own tools show it.
    #[must_use]
    pub fn short_id(&self) -> &str {
        let is_hex = self.id.len() == 64 && self.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.id.get(..SHORT_ID).filter(|_| is_hex).unwrap_or(&self.id)
    }

    /// Returns the known names as `POD NAME`, `POD` or `NAME`.
    #[must_use]
    pub fn full_name(&self) -> Option<String> {
        match (self.pod.as_ref().and_then(Pod::full_name), &self.name) {
            (Some(pod), Some(name)) => Some(format!("{pod} {name}")),
            (pod, name) => pod.or_else(|| name.clone()),
        }
    }

    /// Returns `true` if this is a systemd unit, and not a container.
    #[must_use]
    pub fn is_unit(&self) -> bool {
        self.runtime == "systemd"
    }
}

/// Formats a container as `docker web (5feceb66ffc8)`, or with the full ID for `{:#}`.
impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runtime = &self.runtime;
        let id = if f.alternate() { &self.id } else { self.short_id() };
        let is_pod = self.pod.as_ref().is_some_and(|pod| pod.name.is_some());
        match self.full_name() {
            Some(name) if is_pod => write!(f, "pod {name} ({runtime} {id})"),
            Some(name) => write!(f, "{runtime} {name} ({id})"),
            None => write!(f, "{runtime} {id}"),
        }
    }
}

/// A Kubernetes pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "pod"))]
pub struct Pod {
    /// UID of the pod, which is a hash for a static pod.
    pub uid: String,
    /// Name of the pod, read from one of the container runtime's files or from /var/log/pods. Null
    /// if unknown.
    pub name: Option<String>,
    /// Kubernetes namespace of the pod, or null if unknown.
    pub namespace: Option<String>,
}

impl Pod {
    /// Creates a pod whose name is unknown.
    #[must_use]
    pub fn new(uid: String) -> Self {
        Self { uid, name: None, namespace: None }
    }

    /// Returns `NAMESPACE/NAME`, or only the name if the namespace is unknown.
    #[must_use]
    pub fn full_name(&self) -> Option<String> {
        let name = self.name.as_ref()?;
        Some(self.namespace.as_ref().map_or_else(|| name.clone(), |it| format!("{it}/{name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_every_known_name_and_the_id() {
        let id = "99f3a16ea25b".repeat(6)[..64].to_owned();
        let mut container = Container::new("containerd", &id);
        assert_eq!(container.to_string(), "containerd 99f3a16ea25b");
        assert_eq!(format!("{container:#}"), format!("containerd {id}"));
        container.name = Some("app".to_owned());
        assert_eq!(container.to_string(), "containerd app (99f3a16ea25b)");
        container.pod = Some(Pod::new("6ba7b810".to_owned()));
        assert_eq!(container.to_string(), "containerd app (99f3a16ea25b)");
        container.pod = container.pod.map(|pod| Pod { name: Some("web-0".to_owned()), ..pod });
        assert_eq!(container.to_string(), "pod web-0 app (containerd 99f3a16ea25b)");
        container.pod = container.pod.map(|pod| Pod { namespace: Some("shop".to_owned()), ..pod });
        assert_eq!(format!("{container:#}"), format!("pod shop/web-0 app (containerd {id})"));
        container.name = None;
        assert_eq!(container.to_string(), "pod shop/web-0 (containerd 99f3a16ea25b)");
    }
}
