// Writers that each insert one row after another into the table "t", under a key of its own, until something stops them.

import Foundation
import Synchronization
import Testing

final class KeyedWriters: Sendable {
  private struct State {
    var acknowledged: Set<String> = []
    /// Sent, and not answered.
    var unknown: Set<String> = []
  }

  private let address: String
  private let token: String
  private let count: Int
  private let prefix: String
  private let state = Mutex(State())

  /// - Parameter prefix: of the rows, so that writers of several rounds have rows of their own.
  init(_ address: String, token: String, count: Int, prefix: String) {
    (self.address, self.token, self.count, self.prefix) = (address, token, count, prefix)
  }

  var acknowledged: Set<String> { state.withLock { $0.acknowledged } }
  var unknown: Set<String> { state.withLock { $0.unknown } }

  /// Writes until each writer is refused or finds nobody. Answers the problem that each ended with, or "gone".
  func run() async -> [String] {
    await withTaskGroup(of: String.self) { group in
      for writer in 0..<count {
        group.addTask { [self] in
          var turn = 0
          while !Task.isCancelled {
            turn += 1
            let row = "\(prefix)-\(writer)-\(turn)"
            if let end = await write(row) { return end }
          }
          return "cancelled"
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
  }

  /// Answers nil where it was acknowledged.
  private func write(_ row: String) async -> String? {
    guard let answer = try? await send(row, to: address), !answer.isEmpty else {
      state.withLock { _ = $0.unknown.insert(row) }
      return "gone"
    }
    if answer.hasPrefix("HTTP/1.1 200"), answer.contains("\"rows_affected\":1") {
      state.withLock { _ = $0.acknowledged.insert(row) }
      return nil
    }
    let type = answer.components(separatedBy: "urn:portcullis:problem:").dropFirst().first
    return type.map { String($0.prefix { $0 != "\"" }) } ?? answer
  }

  private func send(_ row: String, to address: String) async throws -> String {
    try await HTTPText.request(
      "POST", "/db/notes/execute", at: address, headers: [("Fencing-Token", token), ("Idempotency-Key", row)],
      body: #"[["INSERT INTO t VALUES(?)","\#(row)"]]"#)
  }

  /// Sends what was not answered once more, to wherever the gateway is now, and expects it to be done, once.
  func repeatUnknown(at address: String) async throws {
    for row in unknown.sorted() {
      let answer = try await send(row, to: address)
      #expect(answer.hasPrefix("HTTP/1.1 200") && answer.contains("\"rows_affected\":1"), "\(answer)")
      state.withLock { state in
        state.unknown.remove(row)
        state.acknowledged.insert(row)
      }
    }
  }

  /// The rows of these writers that are in the table, where there must be each once.
  func rows(at address: String? = nil) async throws -> Set<String> {
    struct Answer: Decodable {
      struct Result: Decodable { let values: [[String]]? }
      let results: [Result]
    }
    let sql = "SELECT+n+FROM+t+WHERE+n+LIKE+'\(prefix)-%25'"
    let answer = try await Curl.run(["http://\(address ?? self.address)/db/notes/query?q=\(sql)"])
    let result = try JSONDecoder().decode(Answer.self, from: Data(answer.body.utf8)).results.first
    let found = (result?.values ?? []).map { $0[0] }
    #expect(Set(found).count == found.count, "a row is there twice")
    return Set(found)
  }

  /// Waits until so many are acknowledged.
  func wait(for count: Int) async throws {
    while acknowledged.count < count {
      try Task.checkCancellation()
      await Task.yield()
    }
  }
}
