// Rows as JSON while the query runs: an answer of any size in the memory of a few chunks.
//
// Must never decide the status of an answer after its first byte: until a chunk is full nothing is sent, so that
// refusals, and all answers that fit into one chunk, are whole answers. Confined to the reader's thread.

import FencingCore

final class JSONRows: RowSink {
  private static let chunkBytes = 64 << 10

  private let form: AnswerForm
  private let stream: ByteStream
  private let start: UInt64
  private let onFirstChunk: () -> Void
  private var json = JSONWriter()
  private var columns: [String] = []
  private var isInResult = false
  private var isInRows = false
  private(set) var hasStarted = false

  init(form: AnswerForm, stream: ByteStream, start: UInt64, onFirstChunk: @escaping () -> Void) {
    self.form = form
    self.stream = stream
    self.start = start
    self.onFirstChunk = onFirstChunk
    json.begin("{")
    json.name("results")
    json.begin("[")
  }

  func begin(columns: [String], types: [String]) {
    self.columns = columns
    isInResult = true
    json.begin("{")
    if form.isAssociative {
      json.member("types") { json in
        json.object { json in for (column, type) in zip(columns, types) { json.member(column, type) } }
      }
      json.name("rows")
      json.begin("[")
      isInRows = true
    } else {
      json.member("columns") { json in json.array { json in columns.forEach { json.string($0) } } }
      json.member("types") { json in json.array { json in types.forEach { json.string($0) } } }
    }
  }

  func row(_ values: [SQLValue]) -> Bool {
    if !isInRows {
      json.name("values")
      json.begin("[")
      isInRows = true
    }
    if form.isAssociative {
      json.begin("{")
      for (column, value) in zip(columns, values) {
        json.name(column)
        json.value(value, blobsAsArrays: form.blobsAsArrays)
      }
      json.end("}")
    } else {
      json.begin("[")
      for value in values { json.value(value, blobsAsArrays: form.blobsAsArrays) }
      json.end("]")
    }
    return json.bytes.count < Self.chunkBytes || flush()
  }

  private func flush() -> Bool {
    let isWanted = stream.send(json.take())
    if !hasStarted {
      hasStarted = true
      onFirstChunk()
    }
    return isWanted
  }

  func end(error: String?, nanoseconds: UInt64) {
    if isInRows { json.end("]") }
    if !isInResult { json.begin("{") }
    if let error { json.member("error", error) }
    if form.hasTimings, error == nil { json.member("time") { $0.seconds(nanoseconds: nanoseconds) } }
    json.end("}")
    (isInResult, isInRows) = (false, false)
  }

  func finish(_ floors: [ScopeFloor]) {
    json.end("]")
    if form.hasTimings { json.member("time") { $0.seconds(nanoseconds: MonotonicClock.nanoseconds - start) } }
    AnswerWriting.fence(floors, into: &json)
    json.end("}")
    stream.finish(json.take())
  }
}
