//! Items that have a key in common. Pure.

use std::collections::HashMap;
use std::hash::Hash;

/// The items of each key, in the order of the keys' first items.
pub(crate) fn by_key<'t, T, K: Hash + Eq>(
    items: impl IntoIterator<Item = &'t T>,
    key: impl Fn(&'t T) -> K,
) -> Vec<Vec<&'t T>> {
    let mut groups: Vec<Vec<&T>> = Vec::new();
    let mut places: HashMap<K, usize> = HashMap::new();
    for item in items {
        let place = *places.entry(key(item)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(item);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_in_the_order_of_their_first_items() {
        let items = [("b", 1), ("a", 2), ("b", 3)];
        assert_eq!(by_key(&items, |item| item.0), [vec![&items[0], &items[2]], vec![&items[1]]]);
    }
}
