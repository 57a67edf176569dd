//! The macro that defines sets of counters. A counter is one entry: the entry makes its field, its sum, its place in
//! an lcore's block, its metric and its exported column.

/// A counter of `T`, with its metric and its exported column.
#[derive(Debug)]
pub struct Counter<T: 'static> {
    /// Its field, and its key in JSON.
    pub name: &'static str,
    /// Its metric and its exported column.
    pub shown: Shown,
    /// Its value.
    pub of: fn(&T) -> u64,
}

/// Names of a counter outside of messages and results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Its metric for Prometheus; `None` when it has none.
    pub metric: Option<Metric>,
    /// Its key in exported samples; `None` when it has none.
    pub column: Option<&'static str>,
}

/// A counter for Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, without prefix, unit and `_total`.
    pub name: &'static str,
    /// Help text.
    pub help: &'static str,
    /// Its unit, which is part of the full name.
    pub unit: Unit,
}

/// Unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Packets, frames or events; the name says which.
    Number,
    /// Bytes.
    Bytes,
}

/// A metric that counts packets, frames or events.
pub(super) const fn metric(name: &'static str, help: &'static str) -> Shown {
    Shown { metric: Some(Metric { name, help, unit: Unit::Number }), column: None }
}

/// A metric that counts bytes.
pub(super) const fn bytes(name: &'static str, help: &'static str) -> Shown {
    Shown { metric: Some(Metric { name, help, unit: Unit::Bytes }), column: None }
}

/// A column without a metric.
pub(super) const fn column(key: &'static str) -> Shown {
    Shown { metric: None, column: Some(key) }
}

impl Shown {
    /// The same with a key in exported samples.
    pub(super) const fn column(self, key: &'static str) -> Self {
        Self { column: Some(key), ..self }
    }
}

/// `N` counters that are written and read as an array, as in the blocks that lcores publish.
pub trait Counters<const N: usize>: Copy {
    /// The counts in the order of the fields.
    fn to_array(self) -> [u64; N];
    /// The counters with these counts.
    fn from_array(counts: [u64; N]) -> Self;
}

/// Defines a set of counters. An entry is the field's documentation, then `field: shown`; with
/// `#[serde(default)]` when old messages and records lack the field.
macro_rules! counters {
    (
        $(#[$about:meta])*
        pub struct $Set:ident { $($(#[$attribute:meta])* $field:ident: $shown:expr,)+ }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub struct $Set {
            $($(#[$attribute])* pub $field: u64,)+
        }

        impl $Set {
            /// Number of counters.
            pub const COUNT: usize = [$(stringify!($field)),+].len();

            /// The counters in the order of their fields.
            pub const TABLE: [$crate::counters::Counter<Self>; Self::COUNT] = [$($crate::counters::Counter {
                name: stringify!($field),
                shown: $shown,
                of: |counters| counters.$field,
            }),+];

            /// Counts since `earlier`. `None` when a counter decreased: it was reset in between (memif resets a
            /// port's when its peer leaves), so the difference has no meaning.
            pub fn since(&self, earlier: &Self) -> Option<Self> {
                Some(Self { $($field: self.$field.checked_sub(earlier.$field)?),+ })
            }
        }

        impl $crate::counters::Counters<{ $Set::COUNT }> for $Set {
            #[inline(always)]
            fn to_array(self) -> [u64; $Set::COUNT] {
                [$(self.$field),+]
            }

            #[inline(always)]
            fn from_array([$($field),+]: [u64; $Set::COUNT]) -> Self {
                Self { $($field),+ }
            }
        }

        impl std::ops::AddAssign for $Set {
            fn add_assign(&mut self, other: Self) {
                // Counts never come near the end of 64 bits; a sum of delays between clocks that are not comparable may.
                $(self.$field = self.$field.saturating_add(other.$field);)+
            }
        }

        impl std::iter::Sum for $Set {
            fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
                parts.fold(Self::default(), |mut sum, part| {
                    sum += part;
                    sum
                })
            }
        }
    };
}

pub(super) use counters;
