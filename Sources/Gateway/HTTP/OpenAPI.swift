// The description of the HTTP interface (OpenAPI 3.0.3), built from the same list for the default database and for named
// ones, so that the two cannot drift apart.

enum OpenAPI {
  static let text: String = {
    var json = JSONWriter()
    json.object { json in
      json.member("openapi", "3.0.3")
      json.member("info") { json in
        json.object { json in
          json.member("title", "Portcullis gateway")
          json.member("version", "1")
          json.member("description", "SQLite behind a fence: requests and answers in rqlite's shapes.")
        }
      }
      json.member("paths") { json in
        json.object { json in
          for prefix in ["/db", "/db/{name}"] {
            for path in databasePaths { write(path, prefix: prefix, into: &json) }
          }
          write(keptAnswer, prefix: "/db/{name}", into: &json)
          for path in gatewayPaths { write(path, prefix: "", into: &json) }
        }
      }
      json.member("components") { json in
        json.object { json in
          json.member("schemas") { json in json.object(schemas) }
          json.member("securitySchemes") { json in
            json.object { json in
              json.member("token") { json in
                json.object { json in
                  json.member("type", "apiKey")
                  json.member("in", "header")
                  json.member("name", "Fencing-Token")
                }
              }
            }
          }
        }
      }
    }
    return String(decoding: json.bytes, as: UTF8.self)
  }()

  private struct Operation {
    let method: String
    let summary: String
    var parameters: [Parameter] = []
    var body: String?
    var answer = "Results"
    var takesToken = false
    var mediaType = "application/json"
  }

  private struct Parameter {
    let name: String
    var place = "query"
    var type = "boolean"
    var isRequired = false
  }

  private struct Path {
    let path: String
    let operations: [Operation]
  }

  private static let form = ["timings", "pretty", "associative", "blob_array"].map { Parameter(name: $0) }
  private static let time = ["db_timeout", "timeout"].map { Parameter(name: $0, type: "string") }
  private static let scope = Parameter(name: "scope", type: "string")
  private static let writing =
    [Parameter(name: "transaction"), Parameter(name: "Idempotency-Key", place: "header", type: "string")] + form + time

  private static let databasePaths = [
    Path(
      path: "/execute",
      operations: [
        Operation(
          method: "post", summary: "Run statements that may write.", parameters: writing, body: "Statements",
          takesToken: true)
      ]),
    Path(
      path: "/request",
      operations: [
        Operation(
          method: "post", summary: "Run statements of both kinds, each answered in its own shape.",
          parameters: writing, body: "Statements", takesToken: true)
      ]),
    Path(
      path: "/query",
      operations: [
        Operation(
          method: "post", summary: "Run statements that only read, on one snapshot.", parameters: form + time,
          body: "Statements", takesToken: true),
        Operation(
          method: "get", summary: "The same, with the SQL in the URL.",
          parameters: [Parameter(name: "q", type: "string", isRequired: true)] + form + time, takesToken: true),
      ]),
    Path(
      path: "/fence", operations: [Operation(method: "get", summary: "The floor.", parameters: [scope], answer: "Any")]),
    Path(
      path: "/backup",
      operations: [
        Operation(
          method: "get", summary: "The whole file as of one moment.", answer: "Bytes",
          mediaType: "application/vnd.sqlite3")
      ]),
    Path(
      path: "/raise",
      operations: [
        Operation(method: "post", summary: "Make the token's number the floor.", answer: "Any", takesToken: true)
      ]),
  ]

  private static let keptAnswer = Path(
    path: "/requests/{key}",
    operations: [
      Operation(
        method: "get", summary: "What the request under this Idempotency-Key was answered with.",
        parameters: [Parameter(name: "key", place: "path", type: "string", isRequired: true), scope] + form)
    ])

  private static let gatewayPaths = [
    Path(
      path: "/status", operations: [Operation(method: "get", summary: "Databases, floors, counters.", answer: "Any")]),
    Path(path: "/readyz", operations: [Operation(method: "get", summary: "Whether writes are taken.", answer: "Any")]),
    Path(
      path: "/nodes", operations: [Operation(method: "get", summary: "This gateway, as rqlite's node.", answer: "Any")]),
    Path(
      path: "/metrics",
      operations: [
        Operation(method: "get", summary: "Figures for Prometheus.", answer: "Text", mediaType: "text/plain")
      ]),
    Path(
      path: "/openapi.json", operations: [Operation(method: "get", summary: "This description.", answer: "Any")]),
  ]

  private static func write(_ path: Path, prefix: String, into json: inout JSONWriter) {
    json.member(prefix + path.path) { json in
      json.object { json in
        for operation in path.operations {
          json.member(operation.method) { write(operation, isNamed: prefix.hasSuffix("}"), into: &$0) }
        }
      }
    }
  }

  private static func write(_ operation: Operation, isNamed: Bool, into json: inout JSONWriter) {
    var parameters = operation.parameters
    if isNamed { parameters.insert(Parameter(name: "name", place: "path", type: "string", isRequired: true), at: 0) }
    json.object { json in
      json.member("summary", operation.summary)
      json.member("parameters") { json in
        json.array { json in for parameter in parameters { write(parameter, into: &json) } }
      }
      if operation.takesToken {
        json.member("security") { json in
          json.array { json in
            json.object { _ in }
            json.object { json in json.member("token") { json in json.array { _ in } } }
          }
        }
      }
      if let body = operation.body {
        json.member("requestBody") { json in
          json.object { json in
            json.member("required", true)
            content("application/json", schema: body, into: &json)
          }
        }
      }
      json.member("responses") { json in
        json.object { json in
          response("200", "It was carried out.", operation.mediaType, operation.answer, into: &json)
          response("default", "It was not carried out.", "application/problem+json", "Problem", into: &json)
        }
      }
    }
  }

  private static func write(_ parameter: Parameter, into json: inout JSONWriter) {
    json.object { json in
      json.member("name", parameter.name)
      json.member("in", parameter.place)
      if parameter.isRequired { json.member("required", true) }
      json.member("schema") { json in json.object { json in json.member("type", parameter.type) } }
    }
  }

  private static func response(
    _ status: String, _ description: String, _ mediaType: String, _ schema: String, into json: inout JSONWriter
  ) {
    json.member(status) { json in
      json.object { json in
        json.member("description", description)
        content(mediaType, schema: schema, into: &json)
      }
    }
  }

  private static func content(_ mediaType: String, schema: String, into json: inout JSONWriter) {
    json.member("content") { json in
      json.object { json in
        json.member(mediaType) { json in
          json.object { json in
            json.member("schema") { json in
              json.object { json in json.member("$ref", "#/components/schemas/" + schema) }
            }
          }
        }
      }
    }
  }

  private static func schemas(_ json: inout JSONWriter) {
    json.member("Any") { json in json.object { json in json.member("type", "object") } }
    json.member("Bytes") { json in
      json.object { json in
        json.member("type", "string")
        json.member("format", "binary")
      }
    }
    json.member("Text") { json in json.object { json in json.member("type", "string") } }
    json.member("Statements") { json in
      json.object { json in
        json.member("type", "array")
        json.member("minItems", 1)
        json.member("description", "SQL texts, or arrays of an SQL text and its parameters by position or by name.")
        json.member("items") { json in json.object { _ in } }
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
    object("Results", required: ["results"], ["results": "array"], into: &json)
    object(
      "Problem", required: ["type", "title", "status", "detail", "recovery"],
      ["type": "string", "title": "string", "status": "integer", "detail": "string", "recovery": "string"], into: &json)
  }

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
