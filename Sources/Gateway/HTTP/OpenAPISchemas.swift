// What goes in and out, as the description of the HTTP interface has it (JSON Schema 2020-12, as OpenAPI 3.1 takes it).
//
// Must never allow what the gateway refuses for its shape: programs make their requests after it.

enum OpenAPISchemas {
  static func write(_ json: inout JSONWriter) {
    json.member("Any") { json in json.object { json in json.member("type", "object") } }
    // Whatever stands behind its name.
    text("Flag", description: "Set by its presence; \"false\" and \"0\" unset it.", into: &json)
    text("Text", into: &json)
    text("Bytes", into: &json)
    text("Load", isFilled: true, description: "An SQLite file, or a text of SQL.", into: &json)
    text("Time", pattern: "^[1-9][0-9]{0,4}(ms|s|m|h)$", into: &json)
    text("KeyName", pattern: "^[!#-~]{1,255}$", into: &json)
    text("Key", pattern: #"^([!#-~]{1,255}|"[!#-~]{1,255}")$"#, description: "With or without quotes.", into: &json)
    statements(&json)
    object("Results", required: ["results"], ["results": "array"], into: &json)
    object(
      "Problem", required: ["type", "title", "status", "detail", "recovery"],
      ["type": "string", "title": "string", "status": "integer", "detail": "string", "recovery": "string"], into: &json)
  }

  private static func text(
    _ name: String, pattern: String? = nil, isFilled: Bool = false, description: String? = nil,
    into json: inout JSONWriter
  ) {
    json.member(name) { json in
      json.object { json in
        json.member("type", "string")
        if let pattern { json.member("pattern", pattern) }
        if isFilled { json.member("minLength", 1) }
        if let description { json.member("description", description) }
      }
    }
  }

  // MARK: Statements

  private static func statements(_ json: inout JSONWriter) {
    json.member("Statements") { json in
      json.object { json in
        json.member("type", "array")
        json.member("minItems", 1)
        json.member("maxItems", Int64(EngineLimits().statementsPerRequest))
        json.member("description", "SQL texts, or arrays of an SQL text and its parameters by position or by name.")
        json.member("items") { json in
          json.object { json in
            json.member("anyOf") { json in
              json.array { json in
                json.object { $0.member("type", "string") }
                json.object(positional)
                json.object(named)
              }
            }
          }
        }
        json.member("example") { json in
          json.array { json in
            json.string("SELECT 1")
            json.array { json in
              json.string("SELECT ?")
              json.integer(2)
            }
          }
        }
      }
    }
    json.member("Value") { json in json.object(value) }
  }

  /// `["SQL ?", value, …]`.
  private static func positional(_ json: inout JSONWriter) {
    json.member("type", "array")
    json.member("minItems", 1)
    json.member("prefixItems") { json in json.array { json in json.object { $0.member("type", "string") } } }
    json.member("items") { json in json.object { $0.member("$ref", "#/components/schemas/Value") } }
  }

  /// `["SQL :name", {"name": value, …}]`.
  private static func named(_ json: inout JSONWriter) {
    json.member("type", "array")
    json.member("minItems", 2)
    json.member("maxItems", 2)
    json.member("prefixItems") { json in
      json.array { json in
        json.object { $0.member("type", "string") }
        json.object { json in
          json.member("type", "object")
          json.member("additionalProperties") { json in
            json.object { $0.member("$ref", "#/components/schemas/Value") }
          }
        }
      }
    }
  }

  private static func value(_ json: inout JSONWriter) {
    json.member("description", "A value of SQLite's. An array of bytes is a BLOB; true and false are 1 and 0.")
    json.member("anyOf") { json in
      json.array { json in
        for type in ["null", "boolean", "string"] { json.object { $0.member("type", type) } }
        json.object { json in
          json.member("type", "integer")
          json.member("minimum", Int64.min)
          json.member("maximum", Int64.max)
        }
        // Reals of any size; whole numbers written without a point must be integers, which are exact.
        json.object { $0.member("type", "number") }
        json.object { json in
          json.member("type", "array")
          json.member("items") { json in
            json.object { json in
              json.member("type", "integer")
              json.member("minimum", 0)
              json.member("maximum", 255)
            }
          }
        }
      }
    }
  }

  // MARK: Objects

  private static func object(
    _ name: String, required: [String], _ types: [String: String], into json: inout JSONWriter
  ) {
    json.member(name) { json in
      json.object { json in
        json.member("type", "object")
        json.member("required") { json in json.array { json in required.forEach { json.string($0) } } }
        json.member("properties") { json in
          json.object { json in
            for (name, type) in types.sorted(by: { $0.key < $1.key }) {
              json.member(name) { json in
                json.object { json in
                  json.member("type", type)
                  if type == "array" { json.member("items") { json in json.object { _ in } } }
                }
              }
            }
          }
        }
      }
    }
  }
}
