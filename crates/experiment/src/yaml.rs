//! Parsing of YAML documents: places of values, and errors with their place.

use std::collections::BTreeMap;
use std::fmt;

use linerate_traffic::url::{HIDDEN, shown_within};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// Programmers' phrases of the YAML library, and their replacements for users.
const PHRASES: [(&str, &str); 5] = [
    (", set DuplicateKeyPolicy in Options if acceptable", " is given twice; remove one of the two"),
    ("duplicate mapping key is given", "a field is given"),
    ("duplicate mapping key: ", "field "),
    ("; use Option<String>", ""),
    ("budget breached", "the document is larger or deeper than any experiment or profile"),
];

/// An error of the YAML parser, with its excerpt of the document and the document's name. What a message hides is
/// written in the excerpt in other forms, such as on two lines: then it is left out.
pub fn excerpt(origin: &str, problem: &serde_saphyr::Error) -> String {
    let mut text = for_users(&problem.to_string());
    if text.lines().next().is_some_and(|message| message.contains(HIDDEN)) {
        text = text.lines().take(2).collect::<Vec<_>>().join("\n");
    }
    text.strip_prefix("error: ").unwrap_or(&text).replace("<input>", origin)
}

/// A message of the YAML library, reworded for users, without users and passwords of URLs in its excerpt.
pub fn for_users(message: &str) -> String {
    PHRASES.iter().fold(shown_within(message), |text, (theirs, ours)| text.replace(theirs, ours))
}

/// Place of the field that a message begins with (`spec.local.devices: …`); unknown when the document does
/// not have it.
pub fn place_of_message(text: &str, message: &str) -> Location {
    let path = message.split([':', ' ']).next().unwrap_or_default();
    place(text, [path.to_owned()])
}

/// `: line 3 column 7`, or an empty text for an unknown place.
pub fn line(location: Location) -> String {
    if location == Location::UNKNOWN {
        String::new()
    } else {
        format!(": line {} column {}", location.line(), location.column())
    }
}

/// Place of a value: the first of `paths` (such as `spec.vary.ttl.step` or `spec.stages[0].rate`) that the
/// document has.
pub fn place(text: &str, paths: impl IntoIterator<Item = String>) -> Location {
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

/// A document reduced to the places of its values.
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
    fn errors_do_not_mention_the_librarys_options() {
        let problem =
            serde_saphyr::from_str::<BTreeMap<String, u32>>("one: 1\ntwo: 2\none: 3\n").unwrap_err();
        let said = excerpt("e.yaml", &problem);
        assert!(said.contains("field one is given twice; remove one of the two"), "{said}");
        assert!(!said.contains("DuplicateKeyPolicy") && !said.contains("Options"), "{said}");
    }

    #[test]
    fn excerpts_do_not_show_passwords_of_urls() {
        type Targets = BTreeMap<String, Vec<crate::http::HttpTarget>>;
        for text in [
            "targets:\n- http://admin:hunter2@h/\n",
            "targets: [direct, 'http://admin:hunter2@h:80/x']\n",
            "targets: [http://10.0.0.1:80/,http://admin:hunter2@h/]\n",
            "targets: ['http://u:pa hunter2@h/']\n",
            "targets:\n- admin:hunter2@h\n",
            "targets: [direct, 'http:/u:hunter2@h']\n",
            "targets:\n- admin:pa hunter2@h\n",
            "targets:\n- 'http://u:pa\n  hunter2@h'\n",
        ] {
            let problem = serde_saphyr::from_str::<Targets>(text).unwrap_err();
            let said = excerpt("e.yaml", &problem);
            assert!(said.contains("***@h") && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_message_is_placed_by_the_field_that_it_begins_with() {
        let text = "spec:\n  pairs: 2\n  local:\n    devices: []\n";
        let found = place_of_message(text, "spec.local.devices: 0 entries for 2 pairs");
        assert_eq!((found.line(), found.column()), (4, 14));
        assert_eq!(place_of_message(text, "two profiles have the name p"), Location::UNKNOWN);
        assert_eq!(place_of_message(text, "spec.kubernetes.nodes: 3 entries"), Location::UNKNOWN);
    }

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
