//! Containers, systemd units and Kubernetes pods.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Number of digits to show of a 64-digit ID. The runtimes' own tools show as many.
const SHORT_ID: usize = 12;

/// The container or systemd unit that a cgroup path names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "container"))]
pub struct Container {
    /// The runtime that created the container: docker, containerd, cri-o, podman, lxc (LXD and
    /// Incus use the same paths), systemd-nspawn, buildkit, runc, crun, garden, kubernetes (a
    /// container in a pod, if the path does not name the runtime), unknown (any other container, if
    /// the path does not name the runtime), or systemd for a unit. Later versions may add runtimes.
    pub runtime: String,
    /// ID of the container in that runtime. Some runtimes, such as lxc, use the name as the ID.
    pub id: String,
    /// Name of the container, from a file of the runtime. Null if the runtime has no name besides
    /// the ID, or if the file could not be read.
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

    /// Returns `true` if `other` is the same container. Names are not compared, because the name of
    /// either container may be unknown.
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

    /// Returns `true` if this is a systemd unit, and not a container.
    #[must_use]
    pub fn is_unit(&self) -> bool {
        self.runtime == "systemd"
    }
}

/// Examples: `docker web (5feceb66ffc8)`, `pod shop/web-0 app (containerd 99f3a16ea25b)` and, for a
/// container without a name, `docker 5feceb66ffc8`.
impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (runtime, id) = (&self.runtime, self.short_id());
        match (self.pod.as_ref().and_then(Pod::full_name), &self.name) {
            (Some(pod), Some(name)) => write!(f, "pod {pod} {name} ({runtime} {id})"),
            (Some(pod), None) => write!(f, "pod {pod} ({runtime} {id})"),
            (None, Some(name)) => write!(f, "{runtime} {name} ({id})"),
            (None, None) => write!(f, "{runtime} {id}"),
        }
    }
}

/// A Kubernetes pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "pod"))]
pub struct Pod {
    /// UID of the pod. The UID of a static pod is a hash.
    pub uid: String,
    /// Name of the pod, from a file of the runtime or from /var/log/pods; null if unknown.
    pub name: Option<String>,
    /// Kubernetes namespace of the pod; null if unknown.
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
