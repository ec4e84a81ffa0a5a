//! Writes metrics in the syntax that OpenMetrics 1.0 and the Prometheus text format 0.0.4 share.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::graph::PidGraph;
use crate::model::{
    Holder, HoldingFile, Keyword as _, Limit, LimitKind, Namespace, NamespaceState,
};
use crate::wording::sanitize::Sanitized;

/// Writes the metrics of a graph.
pub fn write(graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
    let mut registry = Registry::with_prefix(env!("CARGO_PKG_NAME"));
    registry.register_collector(Box::new(Families(families(graph))));
    let mut text = String::new();
    // Prometheus reads the lines `# UNIT` and `# EOF` of OpenMetrics as comments.
    encode(&mut text, &registry).map_err(io::Error::other)?;
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Maximum number of namespaces whose member count gets a separate time series.
const LARGEST: usize = 20;

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Count(usize),
    Duration(Duration),
    /// A ratio, in percent.
    Percent(u32),
}

/// Metrics with samples in a fixed order. The `Family` type of `prometheus-client` does not keep an
/// order.
#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, unit, samples } in &self.0 {
            // Gauges have the same syntax in OpenMetrics and Prometheus.
            let mut family =
                encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            for Sample { labels, value } in samples {
                let encoder = family.encode_family(labels)?;
                match value {
                    Value::Count(count) => ConstGauge::new(*count).encode(encoder)?,
                    Value::Percent(percent) => {
                        ConstGauge::new(f64::from(*percent) / 100.0).encode(encoder)?;
                    }
                    Value::Duration(time) => ConstGauge::new(time.as_secs_f64()).encode(encoder)?,
                }
            }
        }
        Ok(())
    }
}

fn families(graph: &PidGraph) -> Vec<Family> {
    let snapshot = graph.snapshot();
    let count = |count| Sample { labels: Vec::new(), value: Value::Count(count) };
    let zombies = graph.processes().iter().filter(|it| it.is_unreaped()).count();
    let version = Sample {
        labels: vec![("version", env!("CARGO_PKG_VERSION").to_owned())],
        value: Value::Count(1),
    };
    let mut families = vec![
        family("namespaces", "PID namespaces by state and level below a root", namespaces(graph)),
        family("dead_namespaces", DEAD_NAMESPACES, dead_namespaces(graph)),
        family("namespace_members", NAMESPACE_MEMBERS, members(graph)),
        family("processes", "Processes, including kernel threads", processes(graph)),
        family(
            "zombies",
            "Processes that have terminated and are not reaped",
            vec![count(zombies)],
        ),
        family(
            "complete",
            "1 if nothing is missing in the places searched, 0 if something may be",
            vec![count(usize::from(snapshot.complete))],
        ),
        family("build_info", "The version of pidns that wrote this", vec![version]),
    ];
    families.extend(snapshot.limits.as_ref().map(|limits| Family {
        name: "limit_used",
        help: LIMIT_USED,
        unit: Some(Unit::Other("ratio".to_owned())),
        samples: limits_used(limits),
    }));
    // This metric exists only for a live scan, because saved documents do not contain the duration.
    families.extend(snapshot.scan_duration.map(|duration| Family {
        name: "scan_duration",
        help: "Duration of the scan of the host",
        unit: Some(Unit::Seconds),
        samples: vec![Sample { labels: Vec::new(), value: Value::Duration(duration) }],
    }));
    families
}

const DEAD_NAMESPACES: &str = "Dead PID namespaces by what keeps them, each counted once for \
     every keeper; init is its terminated init, child a namespace made in it, unseen anything \
     that was not found";

const NAMESPACE_MEMBERS: &str = "Processes that are members of the PID namespace, for the 20 \
     largest; the namespace other has the sum of all others";

const LIMIT_USED: &str = "How full the fullest limit of each kind is, 1 if the next fork or PID \
     namespace would be refused";

/// Returns the highest utilization of each kind of limit, if known.
fn limits_used(limits: &[Limit]) -> Vec<Sample> {
    let fullest = |kind: &LimitKind| {
        let percent =
            limits.iter().filter(|it| it.kind == *kind).filter_map(Limit::percent).max()?;
        let labels = vec![("limit", kind.keyword().to_owned())];
        Some(Sample { labels, value: Value::Percent(u32::try_from(percent).ok()?) })
    };
    LimitKind::ALL.iter().filter_map(fullest).collect()
}

fn family(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Family {
    Family { name, help, unit: None, samples }
}

fn processes(graph: &PidGraph) -> Vec<Sample> {
    let sample = |is_kernel_thread: bool| {
        let processes = graph.processes().iter();
        let count = processes.filter(|it| it.kernel_thread == is_kernel_thread).count();
        Sample {
            labels: vec![("kernel_thread", is_kernel_thread.to_string())],
            value: Value::Count(count),
        }
    };
    [false, true].map(sample).into()
}

/// Returns the number of namespaces in each state at each level.
fn namespaces(graph: &PidGraph) -> Vec<Sample> {
    let mut counts: BTreeMap<(Option<usize>, NamespaceState), usize> = BTreeMap::new();
    for (namespace, _) in graph.tree() {
        let level = graph.level(namespace);
        // Include zeros, because a time series should drop to 0 instead of ending.
        for state in NamespaceState::ALL {
            *counts.entry((level, state)).or_default() += usize::from(namespace.state == state);
        }
    }
    let name = |level: Option<usize>| level.map_or("unknown".into(), |it| it.to_string());
    let sample = |((level, state), count): ((Option<usize>, NamespaceState), usize)| Sample {
        labels: vec![("state", state.name().to_owned()), ("level", name(level))],
        value: Value::Count(count),
    };
    counts.into_iter().map(sample).collect()
}

/// A function that returns `true` if an object of a particular kind keeps the namespace alive.
type Keeps = fn(&PidGraph, &Namespace) -> bool;

/// The label and the test for each kind of object that can keep a namespace alive.
const KEEPERS: [(&str, Keeps); 11] = [
    ("fd", |_, it| it.holders.iter().any(|holder| matches!(holder, Holder::Fd { .. }))),
    ("mount", |_, it| it.holders.iter().any(|holder| matches!(holder, Holder::Mount { .. }))),
    ("pid_for_children", |_, it| {
        it.holders.iter().any(|holder| matches!(holder, Holder::PidForChildren { .. }))
    }),
    ("pidfd", |_, it| has_file(it, HoldingFile::Pidfd)),
    ("socket", |_, it| has_file(it, HoldingFile::Socket)),
    ("listener", |_, it| has_file(it, HoldingFile::Listener)),
    ("in_flight", |_, it| has_file(it, HoldingFile::InFlight)),
    ("message", |_, it| has_file(it, HoldingFile::Message)),
    ("procfs_file", |_, it| has_file(it, HoldingFile::Procfs)),
    ("init", |_, it| it.init.is_some()),
    ("child", |graph, it| !graph.children(it).is_empty()),
];

fn has_file(namespace: &Namespace, wanted: HoldingFile) -> bool {
    let is_it = |it: &Holder| matches!(it, Holder::File { file, .. } if *file == wanted);
    namespace.holders.iter().any(is_it)
}

/// Counts the dead namespaces that remain in the kernel, by the kind of object that keeps them
/// there.
fn dead_namespaces(graph: &PidGraph) -> Vec<Sample> {
    let is_dead = |namespace: &&Namespace| namespace.state == NamespaceState::Dead;
    let dead: Vec<&Namespace> = graph.snapshot().namespaces.iter().filter(is_dead).collect();
    let is_unseen = |it: &Namespace| !KEEPERS.iter().any(|(_, keeps)| keeps(graph, it));
    let sample = |keeper: &str, count| Sample {
        labels: vec![("keeper", keeper.to_owned())],
        value: Value::Count(count),
    };
    let of_keeper = |(keeper, keeps): (&str, Keeps)| {
        sample(keeper, dead.iter().filter(|it| keeps(graph, it)).count())
    };
    let mut samples: Vec<Sample> = KEEPERS.map(of_keeper).into();
    // Count the dead namespaces for which pidns found no object that keeps them alive.
    samples.push(sample("unseen", dead.iter().filter(|it| is_unseen(it)).count()));
    samples
}

/// Returns the member counts of the largest namespaces, and the total of all others.
fn members(graph: &PidGraph) -> Vec<Sample> {
    let count_of = |it: &Namespace| it.member_count.unwrap_or_else(|| graph.members(it).len());
    let namespaces = graph.snapshot().namespaces.iter();
    let mut sizes: Vec<(usize, &Namespace)> = namespaces.map(|it| (count_of(it), it)).collect();
    // Namespaces of equal size stay sorted by ID, because this sort is stable.
    sizes.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let (largest, others) = sizes.split_at(sizes.len().min(LARGEST));
    let sample = |(count, namespace): &(usize, &Namespace)| {
        let container = namespace.container.as_ref();
        let pod = container.and_then(|it| it.pod.as_ref());
        let text = |text: Option<&str>| Sanitized(text.unwrap_or_default()).to_string();
        let init = namespace.init.and_then(|init| graph.process(init));
        Sample {
            labels: vec![
                ("namespace", namespace.id.to_string()),
                ("init", text(init.map(|init| init.comm.as_str()))),
                ("runtime", text(container.map(|it| it.runtime.as_str()))),
                ("container", text(container.map(|it| it.id.as_str()))),
                ("container_name", text(container.and_then(|it| it.name.as_deref()))),
                ("pod", text(pod.map(|it| it.uid.as_str()))),
                ("pod_name", text(pod.and_then(|it| it.name.as_deref()))),
                ("pod_namespace", text(pod.and_then(|it| it.namespace.as_deref()))),
            ],
            value: Value::Count(*count),
        }
    };
    let mut samples: Vec<Sample> = largest.iter().map(sample).collect();
    let blank = |name| (name, String::new());
    samples.push(Sample {
        labels: vec![
            ("namespace", "other".to_owned()),
            blank("init"),
            blank("runtime"),
            blank("container"),
            blank("container_name"),
            blank("pod"),
            blank("pod_name"),
            blank("pod_namespace"),
        ],
        value: Value::Count(others.iter().map(|(count, _)| count).sum()),
    });
    samples
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::model::{Container, NamespaceId, Pod};
    use crate::testing::{farm, namespace, process, snapshot};

    fn written(graph: &PidGraph) -> String {
        let mut out = Vec::new();
        write(graph, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Returns the lines that contain samples, except the line with the version of pidns.
    fn samples(graph: &PidGraph) -> String {
        let text = written(graph);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter(|line| !line.contains("build_info")).flat_map(|line| [line, "\n"]).collect()
    }

    #[test]
    fn writes_all_metrics() {
        let mut host = farm();
        host.scan_duration = Some(Duration::from_millis(75));
        host.processes[4].state = 'Z';
        expect![[r#"
            pidns_namespaces{state="live",level="0"} 1
            pidns_namespaces{state="dead",level="0"} 0
            pidns_namespaces{state="nascent",level="0"} 0
            pidns_namespaces{state="unknown",level="0"} 0
            pidns_namespaces{state="live",level="1"} 1
            pidns_namespaces{state="dead",level="1"} 0
            pidns_namespaces{state="nascent",level="1"} 0
            pidns_namespaces{state="unknown",level="1"} 0
            pidns_namespaces{state="live",level="2"} 0
            pidns_namespaces{state="dead",level="2"} 1
            pidns_namespaces{state="nascent",level="2"} 0
            pidns_namespaces{state="unknown",level="2"} 0
            pidns_dead_namespaces{keeper="fd"} 1
            pidns_dead_namespaces{keeper="mount"} 0
            pidns_dead_namespaces{keeper="pid_for_children"} 0
            pidns_dead_namespaces{keeper="pidfd"} 0
            pidns_dead_namespaces{keeper="socket"} 0
            pidns_dead_namespaces{keeper="listener"} 0
            pidns_dead_namespaces{keeper="in_flight"} 0
            pidns_dead_namespaces{keeper="message"} 0
            pidns_dead_namespaces{keeper="procfs_file"} 0
            pidns_dead_namespaces{keeper="init"} 0
            pidns_dead_namespaces{keeper="child"} 0
            pidns_dead_namespaces{keeper="unseen"} 0
            pidns_namespace_members{namespace="pid:[4026531836]",init="systemd",runtime="",container="",container_name="",pod="",pod_name="",pod_namespace=""} 3
            pidns_namespace_members{namespace="pid:[4026532179]",init="farm",runtime="docker",container="3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a",container_name="",pod="",pod_name="",pod_namespace=""} 2
            pidns_namespace_members{namespace="pid:[4026532180]",init="",runtime="",container="",container_name="",pod="",pod_name="",pod_namespace=""} 0
            pidns_namespace_members{namespace="other",init="",runtime="",container="",container_name="",pod="",pod_name="",pod_namespace=""} 0
            pidns_processes{kernel_thread="false"} 4
            pidns_processes{kernel_thread="true"} 1
            pidns_zombies 1
            pidns_complete 0
            pidns_scan_duration_seconds 0.075
        "#]].assert_eq(&samples(&PidGraph::new(host)));
    }

    #[test]
    fn describes_each_family_and_ends_the_text() {
        let mut host = farm();
        assert!(!written(&PidGraph::new(host.clone())).contains("scan_duration"));
        host.scan_duration = Some(Duration::from_millis(75));
        let text = written(&PidGraph::new(host));
        let last = text.split_at(text.find("# HELP pidns_scan").unwrap()).1;
        expect![[r#"
            # HELP pidns_scan_duration_seconds Duration of the scan of the host
            # TYPE pidns_scan_duration_seconds gauge
            # UNIT pidns_scan_duration_seconds seconds
            pidns_scan_duration_seconds 0.075
            # EOF
        "#]]
        .assert_eq(last);
        for family in ["namespaces", "processes", "complete", "build_info"] {
            assert!(text.contains(&format!("# HELP pidns_{family} ")), "{family}");
            assert!(text.contains(&format!("# TYPE pidns_{family} gauge\n")), "{family}");
        }
    }

    #[test]
    fn counts_namespaces_beyond_the_largest_together() {
        let mut namespaces = vec![namespace(1, None)];
        let mut processes = vec![process(&[1], Some(1))];
        for index in 0..30 {
            namespaces.push(namespace(100 + index, Some(1)));
            for member in 0..=u32::try_from(index).unwrap() {
                let pid = 1000 + 100 * u32::try_from(index).unwrap() + member;
                processes.push(process(&[pid, member + 1], Some(100 + index)));
            }
        }
        let text = written(&PidGraph::new(snapshot(namespaces, processes)));
        let members: Vec<_> =
            text.lines().filter(|line| line.starts_with("pidns_namespace_members{")).collect();
        assert_eq!(members.len(), LARGEST + 1);
        assert!(members[0].starts_with("pidns_namespace_members{namespace=\"pid:[129]\","));
        assert!(members[0].ends_with("} 30"), "{}", members[0]);
        // The last series is the total of eleven namespaces: ten namespaces with 1 to 10 members,
        // and the host's namespace with 1 member.
        assert!(members[LARGEST].contains("{namespace=\"other\","), "{}", members[LARGEST]);
        assert!(members[LARGEST].ends_with("} 56"), "{}", members[LARGEST]);
    }

    #[test]
    fn escapes_names() {
        let mut host = farm();
        host.namespaces[1].container = Some(Container {
            runtime: "a\"b".to_owned(),
            id: "c\\x2dd\n}".to_owned(),
            name: Some("\"".to_owned()),
            pod: Some(Pod::new("\u{1b}[31m\u{202e}".to_owned())),
        });
        assert_eq!(host.namespaces[1].id, NamespaceId::Inode(4_026_532_179));
        let text = written(&PidGraph::new(host));
        let expected = r#"runtime="a\"b",container="c\\x2dd\\n}",container_name="\"",pod="\\x1b[31m\\u{202e}",pod_name="""#;
        assert!(text.contains(expected), "{text}");
    }
}
