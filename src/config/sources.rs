//! The sources of values: the file, overridden by the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ::config::{ConfigError, Map, Source, Value};

use super::problem::{KeyPath, Place};
use super::raw::Raw;
use super::yaml::Node;

/// The file's tree and the variables that override it. Tells where a key is set.
pub(super) struct Sources {
    pub(super) file: Arc<str>,
    pub(super) root: Node,
    /// For each key set by a variable, the variable's name.
    pub(super) variables: BTreeMap<String, String>,
}

impl Sources {
    /// Where a key is set; if it is not set, where its mapping begins.
    pub(super) fn place(&self, key: &KeyPath<'_>) -> Place {
        let mut up = Some(key);
        while let Some(path) = up {
            if let Some(name) = self.variables.get(&path.to_string()) {
                return Place::Variable(name.clone());
            }
            up = path.parent();
        }
        Place::At(Arc::clone(&self.file), self.nearest(key).0.mark)
    }

    /// The node of a key, or of its closest ancestor in the file; the flag is true if it is the key's own.
    fn nearest(&self, key: &KeyPath<'_>) -> (&Node, bool) {
        let (parent, found) = match key {
            KeyPath::Root => return (&self.root, true),
            KeyPath::Key(parent, _) | KeyPath::Index(parent, _) => self.nearest(parent),
        };
        let child = match key {
            KeyPath::Key(_, key) => parent.get(key),
            KeyPath::Index(_, index) => parent.item(*index),
            KeyPath::Root => None,
        };
        child.filter(|_| found).map_or((parent, false), |child| (child, true))
    }
}

/// One layer of values for `config`.
#[derive(Clone, Default)]
pub(super) struct Layer(pub(super) Map<String, Value>);

impl fmt::Debug for Layer {
    /// Shows no values, because they include passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layer({} values)", self.0.len())
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// Merges the environment over the file and fills the structs.
pub(super) fn merge(file: Layer, environment: Layer) -> Result<Raw, ConfigError> {
    ::config::Config::builder().add_source(file).add_source(environment).build()?.try_deserialize()
}
