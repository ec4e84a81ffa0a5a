//! Parses arbitrary bytes as each of the files in which container runtimes keep names, as the name
//! of a directory in `/var/log/pods`, and as the command line of a runtime. Checks that all names
//! have a valid length. Each result is written in the notation of the runtime, and must be parsed
//! again with the same result.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pidns::collect::runtime_files::{
    Names, annotated_names, data_root, docker_name, option, pod_log_directory, podman_names,
};
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| {
    if let Some(name) = docker_name(bytes) {
        assert!(is_valid(&name));
        assert_eq!(docker_name(&text(&json!({"Name": format!("/{name}")}))), Some(name));
    }
    if let Some(root) = data_root(bytes) {
        assert_eq!(data_root(&text(&json!({"data-root": root}))), Some(root));
    }

    let names = podman_names(bytes);
    assert!(names.values().all(is_valid));
    let again = names.iter().map(|(id, name)| json!({"id": id, "names": [name]})).collect();
    assert_eq!(podman_names(&text(&Value::Array(again))), names);

    let names = annotated_names(bytes);
    let Names { container, pod_uid, pod_name, pod_namespace } = &names;
    let all = [container, pod_uid, pod_name, pod_namespace];
    assert!(all.into_iter().flatten().all(is_valid));
    // The name that CRI-O gives to the container of a pod's namespaces is left out, but nerdctl can
    // give any name.
    let keys = [
        "nerdctl/name",
        "io.kubernetes.cri.sandbox-uid",
        "io.kubernetes.cri.sandbox-name",
        "io.kubernetes.cri.sandbox-namespace",
    ];
    let known = keys.into_iter().zip(all).filter_map(|(key, name)| Some((key, name.as_ref()?)));
    let annotations: serde_json::Map<_, _> =
        known.map(|(key, name)| (key.to_owned(), json!(name))).collect();
    assert_eq!(annotated_names(&text(&json!({"annotations": annotations}))), names);

    if let Some((uid, name, namespace)) = pod_log_directory(bytes) {
        assert!([&uid, &name, &namespace].into_iter().all(is_valid));
        assert_eq!(format!("{namespace}_{name}_{uid}").as_bytes(), bytes);
    }
    for names in [&["-b", "--bundle"][..], &["--data-root"]] {
        let value = option(bytes, names);
        assert!(value.is_none_or(|it| !it.contains('\0') && it.len() < bytes.len()));
    }
});

fn is_valid(name: impl AsRef<str>) -> bool {
    (1..=255).contains(&name.as_ref().len())
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
