//! The stub's objects by resource, namespace and name, and every change in order, for watches.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

/// Resource, namespace and name.
pub type Key = (String, String, String);

/// A change of an object.
#[derive(Clone)]
pub struct Change {
    pub version: u64,
    pub resource: String,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub kind: &'static str,
    pub object: Arc<Value>,
}

impl Change {
    /// True when the change removes the object.
    pub fn is_deletion(&self) -> bool {
        self.kind == "DELETED" || !self.object["metadata"]["deletionTimestamp"].is_null()
    }
}

#[derive(Default)]
pub struct Objects {
    pub version: u64,
    kept: BTreeMap<Key, Arc<Value>>,
    history: Vec<Change>,
}

impl Objects {
    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.kept.get(key).cloned()
    }

    /// Stores a new or changed object with the next version.
    pub fn put(&mut self, key: &Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        let is_new = !self.kept.contains_key(key);
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(self.version.to_string());
        if is_new {
            metadata["uid"] = json!(format!("00000000-0000-4000-8000-{:012}", self.version));
            metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
            metadata["namespace"] = json!(key.1);
        }
        let object = Arc::new(object);
        self.kept.insert(key.clone(), object.clone());
        self.note(key, if is_new { "ADDED" } else { "MODIFIED" }, object.clone());
        object
    }

    /// Changes an existing object.
    pub fn change(&mut self, key: &Key, change: impl FnOnce(&mut Value)) -> Option<Arc<Value>> {
        let mut object = Value::clone(self.kept.get(key)?);
        change(&mut object);
        Some(self.put(key, object))
    }

    pub fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let gone = self.kept.remove(key)?;
        self.version += 1;
        let mut last = Value::clone(&gone);
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.note(key, "DELETED", Arc::new(last));
        Some(gone)
    }

    fn note(&mut self, key: &Key, kind: &'static str, object: Arc<Value>) {
        self.history.push(Change { version: self.version, resource: key.0.clone(), kind, object });
    }

    /// Every object that `wanted` accepts.
    pub fn find(&self, wanted: impl Fn(&Key, &Value) -> bool) -> Vec<(Key, Arc<Value>)> {
        let found = self.kept.iter().filter(|(key, object)| wanted(key, object));
        found.map(|(key, object)| (key.clone(), object.clone())).collect()
    }

    /// Changes of a resource after a version.
    pub fn since(&self, resource: &str, version: u64) -> Vec<Change> {
        let first = self.history.partition_point(|change| change.version <= version);
        self.history[first..].iter().filter(|change| change.resource == resource).cloned().collect()
    }
}

/// True when an object's labels match a selector (`a=b,c=d`).
pub fn has_labels(object: &Value, selector: &str) -> bool {
    let mut wanted = selector.split(',').filter(|term| !term.is_empty());
    wanted.all(|term| {
        let (label, value) = term.split_once('=').unwrap_or((term, ""));
        object["metadata"]["labels"][label] == value
    })
}

/// True when an object's fields match a selector (`a.b=c,d!=e`).
pub fn has_fields(object: &Value, selector: &str) -> bool {
    let mut wanted = selector.split(',').filter(|term| !term.is_empty());
    wanted.all(|term| {
        let (path, value, equal) = match term.split_once("!=") {
            Some((path, value)) => (path, value, false),
            None => term.split_once('=').map(|(path, value)| (path, value, true)).unwrap_or((term, "", true)),
        };
        let field = path.split('.').fold(object, |object, name| &object[name]);
        (field.as_str().unwrap_or_default() == value) == equal
    })
}
