//! Enumerations whose values have fixed names in documents and on the command line.

/// An enumeration whose values have fixed names in documents and on the command line.
pub trait Keyword: Copy + 'static {
    /// All values, in the order in which help and schemas list them.
    const VALUES: &'static [Self];
    /// Name of the enumeration in the published schemas.
    const LIST: &'static str;
    /// The singular and plural noun for messages about unknown values: for example, `limit` and
    /// `limits`.
    const NOUNS: [&'static str; 2];

    /// Returns the name of this value.
    fn keyword(self) -> &'static str;

    /// Returns the description of this value in the published schema.
    fn meaning(self) -> &'static str;
}

/// Defines a [`Keyword`] enumeration with schema descriptions from its doc comments.
macro_rules! keywords {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $type:ident ($list:literal, $one:literal, $several:literal) {
            $($(#[doc = $meaning:tt])+ $value:ident = $name:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $type {
            $($(#[doc = $meaning])+ $value,)+
        }

        impl $type {
            /// All values, in the order in which help and schemas list them.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$value),+];

            /// Returns the name of this value in documents and on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)+
                }
            }
        }

        impl $crate::model::Keyword for $type {
            const VALUES: &'static [Self] = &Self::ALL;
            const LIST: &'static str = $list;
            const NOUNS: [&'static str; 2] = [$one, $several];

            fn keyword(self) -> &'static str {
                self.name()
            }

            fn meaning(self) -> &'static str {
                // Each line of a doc comment begins with a space. The spaces separate the joined
                // lines, so trim only the space before the first line.
                match self {
                    $(Self::$value => concat!($($meaning),+).trim_ascii_start(),)+
                }
            }
        }
    };
}

pub(crate) use keywords;
