//! Phrases about namespaces that several inits share, such as a network namespace.

use super::line::Line;
use super::phrase::Count;
use crate::graph::PidGraph;
use crate::model::SharedWith;
use crate::query::fold::Siblings;

/// Adds to `line` the namespaces that an init shares, such as "shares net with the host".
pub fn add_sharing(graph: &PidGraph, siblings: &Siblings<'_>, in_each: bool, line: &mut Line) {
    let Some(namespace) = siblings.first() else { return };
    let of_each = in_each || matches!(siblings, Siblings::Alike(_));
    for shared in graph.sharing().of(namespace.id) {
        let types = shared.types.join(", ");
        let mut part = |text: std::fmt::Arguments<'_>| {
            line.plain("; ", format_args!("shares {types} with {text}"));
        };
        match &shared.with {
            SharedWith::Host => part(format_args!("the host")),
            // If one line stands for several PID namespaces, each init may share namespaces with a
            // different init. The line then uses a general phrase instead of a name.
            SharedWith::Namespaces { .. } if of_each => part(format_args!("other namespaces")),
            SharedWith::Namespaces { first, container, more } => {
                let first = match container {
                    Some(container) => container.to_string(),
                    None => first.to_string(),
                };
                match more {
                    0 => part(format_args!("{first}")),
                    more => part(format_args!("{first} and {} more", Count(*more))),
                }
            }
        }
    }
}
