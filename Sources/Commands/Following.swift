// `portcullis watch` and `portcullis elect observe`: what happens, a line for each thing, until Ctrl-C.

package import Client
import Foundation

/// Prints what happens to some keys.
package struct Following: Sendable {
  package var endpoints: [Endpoint]
  package var tls = TLSOptions()
  package var credentials: Credentials?
  /// One JSON object a line.
  package var isJSON = false

  package init(endpoints: [Endpoint]) { self.endpoints = endpoints }

  /// Follows keys until a signal, or until `limit` changes were printed.
  /// - Parameter revision: where to begin, without a listing; nil for the state of now.
  package func keys(
    of span: KeySpan, from revision: Int64?, limit: Int?, _ print: @escaping @Sendable (String) -> Void
  ) async throws {
    let isJSON = isJSON
    try await untilSignal { client in
      var left = limit ?? .max
      for try await event in client.events(of: span, from: revision) where left > 0 {
        print(isJSON ? try FollowedEvent(event).line : FollowedEvent.text(event))
        if case .put = event { left -= 1 }
        if case .deleted = event { left -= 1 }
        if left == 0 { return }
      }
    }
  }

  /// Follows an election until a signal.
  package func leaders(of scope: String, _ print: @escaping @Sendable (String) -> Void) async throws {
    let isJSON = isJSON
    try await untilSignal { client in
      for try await leadership in Election(scope, on: client).observe() {
        print(
          isJSON
            ? try JSONOutput.line(ListedLeadership(scope, leadership)) : ListedLeadership.line(scope, leadership))
      }
    }
  }

  /// Ctrl-C is how one stops looking: no failure.
  private func untilSignal(_ body: @escaping @Sendable (Portcullis) async throws -> Void) async throws {
    let signals = Signals()
    let client = Portcullis(endpoints: endpoints, tls: tls, credentials: credentials)
    defer { client.close() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        do {
          try await body(client)
        } catch let error as ClientError {
          let isOut = [.unavailable, .untrusted].contains(error.code)
          throw CommandFailure(isOut ? ExitCode.unavailable : ExitCode.failed, error.description)
        }
      }
      group.addTask { _ = await signals.first() }
      group.addTask { await client.lookAfterConnection() }
      defer { group.cancelAll() }
      try await group.next()
    }
  }
}

/// An event, as JSON has it.
private struct FollowedEvent: Encodable {
  var type: String
  var key: TextOrBytes?
  var value: TextOrBytes?
  var revision: Int64
  var version: Int64?
  var lease: String?
  var count: Int?

  init(_ event: KeyEvent) {
    switch event {
    case .present(let pair): (type, revision) = ("present", pair.modRevision)
    case .put(let pair): (type, revision) = ("put", pair.modRevision)
    case .deleted(let key, let revision): (type, self.key, self.revision) = ("delete", TextOrBytes(key), revision)
    case .listed(let count, let revision): (type, self.count, self.revision) = ("listed", count, revision)
    case .missed(let compacted): (type, revision) = ("missed", compacted)
    }
    guard let pair = event.pair else { return }
    key = TextOrBytes(pair.key)
    value = TextOrBytes(pair.value)
    version = pair.version
    lease = pair.lease == 0 ? nil : SessionID.text(pair.lease)
  }

  var line: String { get throws { try JSONOutput.line(self) } }

  static func text(_ event: KeyEvent) -> String {
    switch event {
    case .present(let pair): row("present", pair.modRevision, pair)
    case .put(let pair): row("put", pair.modRevision, pair)
    case .deleted(let key, let revision): "\(head("delete", revision))\(TextOrBytes.shown(key))"
    case .listed(let count, let revision):
      "\(head("listed", revision))\(count) \(count == 1 ? "key" : "keys"); changes follow"
    case .missed(let compacted):
      "\(head("missed", compacted))changes up to here were compacted; all keys follow anew"
    }
  }

  private static func row(_ type: String, _ revision: Int64, _ pair: KeyValue) -> String {
    "\(head(type, revision))\(TextOrBytes.shown(pair.key)) = \(TextOrBytes.shown(pair.value))"
  }

  private static func head(_ type: String, _ revision: Int64) -> String {
    let number = "\(revision)"
    return type + String(repeating: " ", count: 9 - type.count) + number
      + String(repeating: " ", count: max(1, 10 - number.count))
  }
}

extension KeyEvent {
  /// The key as it is, where it is there.
  fileprivate var pair: KeyValue? {
    switch self {
    case .present(let pair), .put(let pair): pair
    case .deleted, .listed, .missed: nil
    }
  }
}
