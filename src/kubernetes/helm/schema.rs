//! The schema of a chart's values: the types they have, so that a misspelt one is found out.

use serde_json::{Map, Value, json};

/// Maps whose keys people choose.
const OPEN: [&str; 11] = [
    "env",
    "annotations",
    "podAnnotations",
    "nodeSelector",
    "affinity",
    "resources",
    "securityContext",
    "podSecurityContext",
    "values",
    "bytes",
    "config",
];

/// The schema as text.
pub(super) fn of(values: &Value) -> String {
    let mut schema = json!({"$schema": "http://json-schema.org/draft-07/schema#"});
    if let Value::Object(rest) = shape("", values) {
        for (key, value) in rest {
            schema[key] = value;
        }
    }
    // Helm puts its own beside ours.
    schema["properties"]["global"] = json!({"type": "object"});
    let text = serde_json::to_string_pretty(&schema);
    format!("{}\n", text.expect("values hold only texts, numbers, lists and maps"))
}

fn shape(key: &str, value: &Value) -> Value {
    match value {
        Value::Object(_) if OPEN.contains(&key) => json!({"type": "object"}),
        Value::Object(map) => {
            // What a template looks at may be more than what is there from the start.
            let is_open = matches!(key, "variables" | "autoscaling" | "service");
            let properties: Map<String, Value> =
                map.iter().map(|(key, value)| (key.clone(), shape(key, value))).collect();
            json!({"type": "object", "properties": properties, "additionalProperties": is_open})
        }
        Value::Array(_) => json!({"type": "array"}),
        Value::Bool(_) => json!({"type": "boolean"}),
        Value::Number(_) => json!({"type": "integer", "minimum": 0}),
        Value::String(_) if key == "pullPolicy" => {
            json!({"enum": ["", "Always", "IfNotPresent", "Never"]})
        }
        Value::String(_) if key == "type" => {
            json!({"enum": ["ClusterIP", "NodePort", "LoadBalancer"]})
        }
        Value::String(_) if matches!(key, "repository" | "host" | "path" | "className") => {
            json!({"type": "string"})
        }
        // A tag that looks like a number is one in YAML.
        Value::String(_) => json!({"type": ["string", "number"]}),
        Value::Null => json!({}),
    }
}
