//! JSON that stays as it came.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON text that is kept and passed on as it is. Copies share it.
#[derive(Debug, Clone)]
pub struct RowBody(Arc<RawValue>);

impl RowBody {
    /// A value as JSON.
    ///
    /// # Panics
    ///
    /// When it cannot be written as JSON; what muster tells others holds only strings, numbers,
    /// lists and maps.
    pub fn of(value: &impl Serialize) -> Self {
        Self(serde_json::value::to_raw_value(value).expect("it can be written as JSON").into())
    }

    /// JSON null.
    pub fn null() -> Self {
        Self::of(&())
    }

    /// Whether it is JSON null.
    pub fn is_null(&self) -> bool {
        self.0.get() == "null"
    }

    /// What it says, when it says something of this kind.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.0.get()).ok()
    }
}

impl PartialEq for RowBody {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Serialize for RowBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|text| Self(text.into()))
    }
}
