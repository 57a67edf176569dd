//! What the readers of all documents share: places in YAML, and mistakes shown with them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// What the reader of YAML says, with its excerpt of the document under the document's own name.
pub(crate) fn excerpt(origin: &str, problem: &serde_saphyr::Error) -> String {
    let text = problem.to_string();
    text.strip_prefix("error: ").unwrap_or(&text).replace("<input>", origin)
}

/// `: line 3 column 7`, or nothing for a place that is in no document.
pub(crate) fn line(location: Location) -> String {
    if location == Location::UNKNOWN {
        String::new()
    } else {
        format!(": line {} column {}", location.line(), location.column())
    }
}

/// Where a value stands in a document: the first of `paths` (such as `spec.vary.ttl.step` or `spec.stages[0].rate`) that is there.
pub(crate) fn place(text: &str, paths: impl IntoIterator<Item = String>) -> Location {
    let Ok(tree) = serde_saphyr::from_str::<Spanned<Tree>>(text) else { return Location::UNKNOWN };
    paths.into_iter().find_map(|path| find(&tree, &path)).unwrap_or(Location::UNKNOWN)
}

fn find(tree: &Spanned<Tree>, path: &str) -> Option<Location> {
    let steps = path.split(['.', '[']).map(|step| step.trim_end_matches(']'));
    let found = steps.into_iter().try_fold(tree, |node, step| match &node.value {
        Tree::Map(map) => map.get(step),
        Tree::List(list) => list.get(step.parse::<usize>().ok()?),
        Tree::Leaf => None,
    });
    found.map(|node| node.referenced)
}

/// A document as nothing but places.
enum Tree {
    Map(BTreeMap<String, Spanned<Tree>>),
    List(Vec<Spanned<Tree>>),
    Leaf,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
                let mut map = BTreeMap::new();
                while let Some((key, value)) = entries.next_entry::<String, Spanned<Tree>>()? {
                    map.insert(key, value);
                }
                Ok(Tree::Map(map))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = elements.next_element()? {
                    list.push(value);
                }
                Ok(Tree::List(list))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_i128<E>(self, _: i128) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_u128<E>(self, _: u128) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_none<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Tree, D::Error> {
                Tree::deserialize(inner)
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Tree, D::Error> {
                IgnoredAny::deserialize(inner).map(|_| Tree::Leaf)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_path_that_is_there_is_the_place() {
        let text =
            "spec:\n  flows: 5\n  vary:\n    ttl: {step: 0}\n  stages:\n  - rate: 5pps\n    to: null\n";
        for (paths, place) in [
            (&["spec.flows"][..], "2 10"),
            (&["spec.vary.ttl.step"], "4 17"),
            (&["spec.nothing", "spec.stages[0].rate"], "6 11"),
            (&["spec.stages[1].rate", "spec.vary.ttl"], "4 10"),
        ] {
            let found = super::place(text, paths.iter().map(|path| (*path).to_owned()));
            assert_eq!(format!("{} {}", found.line(), found.column()), place, "{paths:?}");
        }
        assert_eq!(super::place(text, ["spec.ttl".to_owned()]), Location::UNKNOWN);
        assert_eq!(super::place("{", ["spec".to_owned()]), Location::UNKNOWN);
    }
}
