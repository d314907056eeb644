// Writes answers in rqlite's shapes, with the fence that they were given under beside them.

import FencingCore
import Hummingbird

/// The fence as it was written last on a connection, where one answer's is mostly the next one's.
struct WrittenFence {
  let floors: [ScopeFloor]
  let bytes: [UInt8]
}

enum AnswerWriting {
  static let contentType = "application/json; charset=utf-8"

  private enum Shape {
    case execute
    case query
    /// Each statement's own.
    case mixed
  }

  static func execute(
    _ outcome: WriteOutcome, form: AnswerForm, nanoseconds: UInt64
  ) -> Response {
    write(outcome, .execute, form: form, nanoseconds: nanoseconds)
  }

  static func mixed(_ outcome: WriteOutcome, form: AnswerForm, nanoseconds: UInt64) -> Response {
    write(outcome, .mixed, form: form, nanoseconds: nanoseconds)
  }

  /// The body of what `execute` answers.
  static func executed(
    _ outcome: WriteOutcome, form: AnswerForm, nanoseconds: UInt64, lastFence: inout WrittenFence?
  ) -> [UInt8] {
    if lastFence?.floors != outcome.floors {
      var json = JSONWriter()
      fence(outcome.floors, into: &json)
      lastFence = WrittenFence(floors: outcome.floors, bytes: json.bytes)
    }
    return bytes(form) { json in
      members(of: outcome, .execute, form: form, nanoseconds: nanoseconds, into: &json)
      if let lastFence { json.members(written: lastFence.bytes) }
    }
  }

  private static func members(
    of outcome: WriteOutcome, _ shape: Shape, form: AnswerForm, nanoseconds: UInt64, into json: inout JSONWriter
  ) {
    results(outcome.results, shape, form: form, into: &json)
    if form.hasTimings { json.member("time") { $0.seconds(nanoseconds: nanoseconds) } }
    if outcome.isRolledBack { json.member("rolled_back", true) }
  }

  private static func write(
    _ outcome: WriteOutcome, _ shape: Shape, form: AnswerForm, nanoseconds: UInt64
  ) -> Response {
    var response = answer(form) { json in
      members(of: outcome, shape, form: form, nanoseconds: nanoseconds, into: &json)
      fence(outcome.floors, into: &json)
    }
    if outcome.isRepeated { response.headers[.idempotencyReplayed] = "true" }
    return response
  }

  static func query(_ outcome: ReadOutcome, form: AnswerForm, nanoseconds: UInt64) -> Response {
    answer(form) { json in
      results(outcome.results, .query, form: form, into: &json)
      if form.hasTimings { json.member("time") { $0.seconds(nanoseconds: nanoseconds) } }
      fence(outcome.floors, into: &json)
    }
  }

  /// `fence` is the first scope's floor, which for most requests is the only one; `fences` are all of several.
  static func fence(_ floors: [ScopeFloor], into json: inout JSONWriter) {
    guard let first = floors.first else { return }
    json.member("fence") { $0.authority(first.floor, scope: first.scope) }
    guard floors.count > 1 else { return }
    json.member("fences") { json in
      json.array { json in for entry in floors { json.authority(entry.floor, scope: entry.scope) } }
    }
  }

  private static func results(
    _ results: [StatementOutcome], _ shape: Shape, form: AnswerForm, into json: inout JSONWriter
  ) {
    json.member("results") { json in
      json.array { json in
        for result in results {
          var isQuery = shape == .query
          if shape == .mixed, case .success(let result) = result { isQuery = result.isQuery }
          write(result, isQuery: isQuery, form: form, into: &json)
        }
      }
    }
  }

  /// Answers with an object of JSON.
  static func answer(
    _ form: AnswerForm, status: HTTPResponse.Status = .ok, _ members: (inout JSONWriter) -> Void
  ) -> Response {
    let body = ResponseBody(byteBuffer: ByteBuffer(bytes: bytes(form, members)))
    return Response(status: status, headers: [.contentType: contentType], body: body)
  }

  private static func bytes(_ form: AnswerForm, _ members: (inout JSONWriter) -> Void) -> [UInt8] {
    var json = JSONWriter()
    json.object(members)
    return form.isPretty ? PrettyJSON.indent(json.bytes) : json.bytes
  }

  private static func write(
    _ outcome: StatementOutcome, isQuery: Bool, form: AnswerForm, into json: inout JSONWriter
  ) {
    json.object { json in
      switch outcome {
      case .failure(let reason): json.member("error", reason)
      case .success(let result):
        if !isQuery {
          json.member("last_insert_id", result.lastInsertID)
          json.member("rows_affected", result.rowsAffected)
        }
        // A write has columns where it says RETURNING.
        if isQuery || !result.columns.isEmpty { rows(of: result, form: form, into: &json) }
        if form.hasTimings { json.member("time") { $0.seconds(nanoseconds: result.nanoseconds) } }
      }
    }
  }

  private static func rows(of result: StatementResult, form: AnswerForm, into json: inout JSONWriter) {
    if form.isAssociative {
      json.member("types") { json in
        json.object { json in
          for (column, type) in zip(result.columns, result.types) { json.member(column, type) }
        }
      }
      json.member("rows") { json in
        json.array { json in
          for row in result.rows { associative(row, columns: result.columns, form: form, into: &json) }
        }
      }
      return
    }
    json.member("columns") { json in json.array { json in result.columns.forEach { json.string($0) } } }
    json.member("types") { json in json.array { json in result.types.forEach { json.string($0) } } }
    // rqlite leaves `values` out where there is no row, and its clients know that.
    guard !result.rows.isEmpty else { return }
    json.member("values") { json in
      json.array { json in
        for row in result.rows {
          json.array { json in for value in row { json.value(value, blobsAsArrays: form.blobsAsArrays) } }
        }
      }
    }
  }

  private static func associative(
    _ row: [SQLValue], columns: [String], form: AnswerForm, into json: inout JSONWriter
  ) {
    json.object { json in
      for (column, value) in zip(columns, row) {
        json.member(column) { $0.value(value, blobsAsArrays: form.blobsAsArrays) }
      }
    }
  }
}
