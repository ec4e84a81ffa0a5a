//! Parses untrusted files in which container runtimes store the names of containers.

use std::collections::HashMap;
use std::fmt;

use memchr::memmem;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// Maximum length of a name in bytes (Kubernetes allows 253 bytes).
const MAX_NAME: usize = 255;

/// Returns the name, unless it is empty or too long.
fn valid(name: Option<String>) -> Option<String> {
    name.filter(|name| !name.is_empty() && name.len() <= MAX_NAME)
}

/// Returns a container's name from Docker's `config.v2.json`.
#[must_use]
pub fn docker_name(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "Name")]
        name: String,
    }
    let Config { name } = serde_json::from_slice(json).ok()?;
    valid(Some(name.strip_prefix('/').unwrap_or(&name).to_owned()))
}

/// Returns the data directory that Docker's `daemon.json` sets.
#[must_use]
pub fn data_root(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Daemon {
        #[serde(rename = "data-root", alias = "graph")]
        data_root: String,
    }
    serde_json::from_slice(json).ok().map(|Daemon { data_root }| data_root)
}

/// Returns the name of each container in podman's `containers.json`, by ID.
#[must_use]
pub fn podman_names(json: &[u8]) -> HashMap<String, String> {
    #[derive(Deserialize)]
    struct Stored {
        id: String,
        #[serde(default)]
        names: Vec<String>,
    }
    let stored: Vec<Stored> = serde_json::from_slice(json).unwrap_or_default();
    let named = |it: Stored| Some((it.id, valid(it.names.into_iter().next())?));
    stored.into_iter().filter_map(named).collect()
}

/// Names of a container and its pod, from the files of the container runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Name of the container, or `None` for the pause container of a pod.
    pub container: Option<String>,
    /// UID of the pod.
    pub pod_uid: Option<String>,
    /// Name of the pod.
    pub pod_name: Option<String>,
    /// Kubernetes namespace of the pod.
    pub pod_namespace: Option<String>,
}

/// Returns the names in the annotations of a bundle's `config.json`.
#[must_use]
pub fn annotated_names(json: &[u8]) -> Names {
    // Search for the key, because parsing the whole file is slow.
    const KEY: &[u8] = b"\"annotations\":";
    // Quotes in a JSON string are escaped, so a string cannot contain `KEY`.
    let value = memmem::find(json, KEY).and_then(|at| json.get(at + KEY.len()..));
    let annotations = value.and_then(|json| {
        Annotations::deserialize(&mut serde_json::Deserializer::from_slice(json)).ok()
    });
    let Annotations { cri, cri_o, nerdctl } = annotations.unwrap_or_default();
    let [container, pod_uid, pod_name, pod_namespace] =
        if cri.iter().any(Option::is_some) { cri } else { cri_o };
    // CRI-O gives the name `POD` to each pause container.
    let container = container.filter(|name| name != "POD").or(nerdctl);
    Names {
        container: valid(container),
        pod_uid: valid(pod_uid),
        pod_name: valid(pod_name),
        pod_namespace: valid(pod_namespace),
    }
}

/// The annotations that contain names, in the order of [`CRI`] and [`CRI_O`].
#[derive(Default)]
struct Annotations {
    cri: [Option<String>; 4],
    cri_o: [Option<String>; 4],
    nerdctl: Option<String>,
}

/// Names of the annotations that containerd sets. See
/// <https://github.com/containerd/containerd/blob/main/internal/cri/annotations/annotations.go>.
const CRI: [&str; 4] = [
    "io.kubernetes.cri.container-name",
    "io.kubernetes.cri.sandbox-uid",
    "io.kubernetes.cri.sandbox-name",
    "io.kubernetes.cri.sandbox-namespace",
];

/// Names of the labels that the kubelet sets. CRI-O copies these labels into annotations. See
/// <https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/kubelet/pkg/types/labels.go>.
const CRI_O: [&str; 4] = [
    "io.kubernetes.container.name",
    "io.kubernetes.pod.uid",
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
];

/// A label that nerdctl sets and copies into annotations:
/// <https://github.com/containerd/nerdctl/blob/main/pkg/labels/labels.go>.
const NERDCTL: &str = "nerdctl/name";

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReadAnnotations;
        impl<'de> Visitor<'de> for ReadAnnotations {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut found = Annotations::default();
                while let Some(key) = map.next_key::<String>()? {
                    let index = |keys: [&str; 4]| keys.iter().position(|it| *it == key);
                    if let Some(index) = index(CRI) {
                        found.cri[index] = Some(map.next_value()?);
                    } else if let Some(index) = index(CRI_O) {
                        found.cri_o[index] = Some(map.next_value()?);
                    } else if key == NERDCTL {
                        found.nerdctl = Some(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(ReadAnnotations)
    }
}

/// Returns the UID, name and namespace in a pod's directory name (`NAMESPACE_NAME_UID`). See
/// `BuildPodLogsDirectory` in
/// <https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/kuberuntime/helpers.go>.
#[must_use]
pub fn pod_log_directory(name: &[u8]) -> Option<(String, String, String)> {
    let name = std::str::from_utf8(name).ok()?;
    let mut parts = name.split('_').map(|part| valid(Some(part.to_owned())));
    let (namespace, name, uid) = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some((uid, name, namespace))
}

/// Finds the first option that has one of these `names`, and returns its value.
///
/// On the command line, the option is written as `NAME VALUE` or `NAME=VALUE`.
#[must_use]
pub fn option<'a>(command_line: &'a [u8], names: &[&str]) -> Option<&'a str> {
    let mut arguments = command_line.split(|&byte| byte == 0);
    while let Some(argument) = arguments.next() {
        for name in names {
            match argument.strip_prefix(name.as_bytes()) {
                Some(b"") => return std::str::from_utf8(arguments.next()?).ok(),
                Some([b'=', value @ ..]) => return std::str::from_utf8(value).ok(),
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_names_from_the_files_of_each_runtime() {
        let docker = br#"{"State":{"Pid":6},"Config":{"Env":["Name=x"]},"Name":"/web","MountPoints":{"/v":{"Name":"v"}}}"#;
        assert_eq!(docker_name(docker).as_deref(), Some("web"));
        let podman = br#"[{"id":"3f2a","names":["db","alias"],"metadata":"{\"name\":\"db\"}"},{"id":"4f"},{"id":"5f","names":[]}]"#;
        assert_eq!(podman_names(podman), HashMap::from([("3f2a".to_owned(), "db".to_owned())]));
        assert_eq!(
            data_root(br#"{"debug":true,"data-root":"/srv/docker"}"#).as_deref(),
            Some("/srv/docker")
        );
        assert_eq!(
            pod_log_directory(b"shop_web-0_6ba7b810"),
            Some(("6ba7b810".to_owned(), "web-0".to_owned(), "shop".to_owned()))
        );
        for bad in ["", "shop", "shop_web-0", "shop__u", "a_b_c_d"] {
            assert_eq!(pod_log_directory(bad.as_bytes()), None, "{bad}");
        }
    }

    /// Returns the names that `annotated_names` finds in a file with these annotations.
    fn names(annotations: &str) -> [String; 4] {
        // The parser must ignore a string that resembles annotations.
        let string = r#""\"annotations\":{\"nerdctl/name\":\"false\"}""#;
        let json =
            format!(r#"{{"process":{{"env":[{string}]}},"annotations":{annotations},"linux":"#);
        let Names { container, pod_uid, pod_name, pod_namespace } =
            annotated_names(json.as_bytes());
        [container, pod_uid, pod_name, pod_namespace].map(Option::unwrap_or_default)
    }

    #[test]
    fn reads_names_from_the_annotations_of_a_bundle() {
        let cri = r#"{"io.kubernetes.cri.container-name":"app","io.kubernetes.cri.sandbox-name":"web-0","io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.sandbox-uid":"6ba7"}"#;
        assert_eq!(names(cri), ["app", "6ba7", "web-0", "shop"]);
        let cri_o = r#"{"io.kubernetes.container.name":"POD","io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"6ba7","io.kubernetes.cri-o.Labels":"{}"}"#;
        assert_eq!(names(cri_o), ["", "6ba7", "web-0", "shop"]);
        assert_eq!(names(r#"{"nerdctl/name":"web","other":{"deep":[1]}}"#), ["web", "", "", ""]);
        for nothing in ["{}", "null", "[]", "7", r#"{"nerdctl/name":7}"#, r#"{"nerdctl/name":""}"#]
        {
            assert_eq!(names(nothing), ["", "", "", ""], "{nothing}");
        }
        let long = format!(r#"{{"nerdctl/name":"{}"}}"#, "x".repeat(MAX_NAME + 1));
        assert_eq!(names(&long), ["", "", "", ""]);
    }

    #[test]
    fn finds_an_option_in_a_command_line() {
        let line = b"conmon\0-c\0id\0-b\0/run/x\0--data-root=/srv\0-b\0second\0";
        assert_eq!(option(line, &["-b"]), Some("/run/x"));
        assert_eq!(option(line, &["--graph", "--data-root"]), Some("/srv"));
        assert_eq!(option(line, &["--none"]), None);
        assert_eq!(option(b"dockerd\0--data-root", &["--data-root"]), None);
        assert_eq!(option(b"", &["-b"]), None);
    }

    proptest! {
        #[test]
        fn accepts_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\[{\"a:,}\\]]{0,40}") {
            for json in [&bytes[..], text.as_bytes()] {
                let _ = (docker_name(json), data_root(json), podman_names(json));
                let _ = (annotated_names(json), pod_log_directory(json), option(json, &["-b"]));
            }
        }
    }
}
