// The description of the HTTP interface (OpenAPI 3.1), built from the same list for the default database and for named
// ones, so that the two cannot drift apart.

enum OpenAPI {
  static let text: String = {
    var json = JSONWriter()
    json.object { json in
      json.member("openapi", "3.1.0")
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
          for path in namedPaths { write(path, prefix: "/db/{name}", into: &json) }
          for path in gatewayPaths { write(path, prefix: "", into: &json) }
        }
      }
      json.member("components") { json in
        json.object { json in
          json.member("schemas") { json in json.object(OpenAPISchemas.write) }
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
    var bodyTypes = ["application/json"]
    var answer = "Results"
    var takesToken = false
    var mediaType = "application/json"
  }

  private struct Parameter {
    let name: String
    var place = "query"
    /// One of `schemas`.
    var schema = "Flag"
    var isRequired = false
  }

  private struct Path {
    let path: String
    let operations: [Operation]
  }

  private static let form = ["timings", "pretty", "associative", "blob_array"].map { Parameter(name: $0) }
  private static let time = ["db_timeout", "timeout"].map { Parameter(name: $0, schema: "Time") }
  private static let scope = Parameter(name: "scope", schema: "Text")
  private static let writing =
    [Parameter(name: "transaction"), Parameter(name: "Idempotency-Key", place: "header", schema: "Key")] + form + time

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
          parameters: [Parameter(name: "q", schema: "Text", isRequired: true)] + form + time, takesToken: true),
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
      path: "/load",
      operations: [
        Operation(
          method: "post", summary: "Replace the contents by those of an SQLite file, or run a text of SQL.",
          body: "Load", bodyTypes: ["application/octet-stream", "text/plain"], answer: "Results", takesToken: true)
      ]),
    Path(
      path: "/raise",
      operations: [
        Operation(method: "post", summary: "Make the token's number the floor.", answer: "Any", takesToken: true)
      ]),
  ]

  private static let namedPaths = [
    Path(
      path: "/requests/{key}",
      operations: [
        Operation(
          method: "get", summary: "What the request under this Idempotency-Key was answered with.",
          parameters: [Parameter(name: "key", place: "path", schema: "KeyName", isRequired: true), scope] + form)
      ])
  ]

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
    if isNamed { parameters.insert(Parameter(name: "name", place: "path", schema: "Text", isRequired: true), at: 0) }
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
            content(operation.bodyTypes, schema: body, into: &json)
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
      json.member("schema") { reference(parameter.schema, into: &$0) }
    }
  }

  private static func response(
    _ status: String, _ description: String, _ mediaType: String, _ schema: String, into json: inout JSONWriter
  ) {
    json.member(status) { json in
      json.object { json in
        json.member("description", description)
        content([mediaType], schema: schema, into: &json)
      }
    }
  }

  private static func content(_ mediaTypes: [String], schema: String, into json: inout JSONWriter) {
    json.member("content") { json in
      json.object { json in
        for mediaType in mediaTypes {
          json.member(mediaType) { json in
            json.object { json in json.member("schema") { reference(schema, into: &$0) } }
          }
        }
      }
    }
  }

  private static func reference(_ schema: String, into json: inout JSONWriter) {
    json.object { json in json.member("$ref", "#/components/schemas/" + schema) }
  }

  // MARK: Methods

  /// Which methods a path has, in upper case; none where there is no such path.
  static func methods(of path: String) -> [String] {
    let parts = path.split(separator: "/")
    func fits(_ template: String) -> Bool {
      let wanted = template.split(separator: "/")
      return wanted.count == parts.count && zip(wanted, parts).allSatisfy { $0.hasPrefix("{") || $0 == $1 }
    }
    let all =
      ["/db", "/db/{name}"].flatMap { prefix in databasePaths.map { (prefix + $0.path, $0) } }
      + namedPaths.map { ("/db/{name}" + $0.path, $0) } + gatewayPaths.map { ($0.path, $0) }
    return all.filter { fits($0.0) }.flatMap { $0.1.operations.map { $0.method.uppercased() } }
  }
}
