// What a node says happened: every change of every key, in the order of revisions, as a watcher from the first revision
// on is told it; and what it says of itself.

package import Foundation
import NIOCore
import NIOPosix
import Protocol
import Synchronization
import Wire

package struct HistoryEvent: Sendable, Equatable {
  package let revision: Int64
  package let key: String
  /// Nil: it was deleted.
  package let value: String?
}

package struct NodeStatus: Sendable {
  package let isLeader: Bool
  package let term: UInt64
  package let revision: Int64
}

package enum HistoryLog {
  package struct Trouble: Error, CustomStringConvertible {
    package let description: String
  }

  /// Every event of a node from a revision on, up to the one that put `marker`.
  package static func read(port: Int, from first: Int64 = 1, through marker: String) async throws -> [HistoryEvent] {
    let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    let connection = try await WireConnection.connect(host: "127.0.0.1", port: port, on: eventLoop).get()
    defer { connection.close() }
    let collector = Collector(marker: marker)
    let stream = connection.openStream(RPCPath.Watch.watch, handler: collector)
    var create = Etcdserverpb_WatchCreateRequest()
    create.key = Data([0])
    create.rangeEnd = Data([0])
    create.startRevision = first
    var request = Etcdserverpb_WatchRequest()
    request.requestUnion = .createRequest(create)
    try stream.send(request)
    // A watch has no deadline of its own: a node that says nothing more must not hold up the checks for ever.
    let alarm = eventLoop.scheduleTask(in: .seconds(30)) { connection.close() }
    defer { alarm.cancel() }
    return try await collector.events()
  }

  /// The end of the range of all keys that begin with `prefix`.
  package static func end(of prefix: String) -> Data {
    var end = Data(prefix.utf8)
    end[end.count - 1] += 1
    return end
  }

  /// The state of every key that begins with `prefix`, as one linearizable read of a node shows it.
  /// - Parameter revision: as of which; now where it is 0.
  package static func state(port: Int, prefix: String, at revision: Int64 = 0) async throws -> [String: HistoryState] {
    let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    let connection = try await WireConnection.connect(host: "127.0.0.1", port: port, on: eventLoop).get()
    defer { connection.close() }
    var request = HistoryClient.range(prefix, isSerializable: false)
    request.rangeEnd = Self.end(of: prefix)
    request.revision = revision
    let response = try await connection.unary(
      RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, deadline: .now() + .seconds(20))
    return Dictionary(
      uniqueKeysWithValues: response.kvs.map {
        (
          String(decoding: $0.key, as: UTF8.self),
          HistoryState(value: String(decoding: $0.value, as: UTF8.self), modRevision: $0.modRevision)
        )
      })
  }
}

private final class Collector: ClientStreamHandler {
  private struct State {
    var events: [HistoryEvent] = []
    var end: Result<Void, HistoryLog.Trouble>?
    var waiter: CheckedContinuation<[HistoryEvent], any Error>?
  }

  private let marker: String
  private let state = Mutex(State())

  init(marker: String) { self.marker = marker }

  func events() async throws -> [HistoryEvent] {
    try await withCheckedThrowingContinuation { continuation in
      state.withLock { $0.waiter = continuation }
      settle(nil)
    }
  }

  func received(_ message: ByteBuffer) {
    guard let response = try? Etcdserverpb_WatchResponse(received: message) else {
      return settle(.failure(HistoryLog.Trouble(description: "a watch's answer cannot be read")))
    }
    if response.canceled {
      return settle(.failure(HistoryLog.Trouble(description: "the watch was cancelled: \(response.cancelReason)")))
    }
    let events = response.events.map { event in
      HistoryEvent(
        revision: event.kv.modRevision, key: String(decoding: event.kv.key, as: UTF8.self),
        value: event.type == .delete ? nil : String(decoding: event.kv.value, as: UTF8.self))
    }
    // Whatever comes behind the mark is not told to every watcher in the same message.
    let end = events.firstIndex { $0.value == marker }
    state.withLock { $0.events += end.map { events[...$0] } ?? events[...] }
    if end != nil { settle(.success(())) }
  }

  func closed(_ status: RPCStatus) {
    settle(.failure(HistoryLog.Trouble(description: "the watch ended before it had told everything: \(status)")))
  }

  private func settle(_ end: Result<Void, HistoryLog.Trouble>?) {
    let (waiter, result) = state.withLock { state in
      if state.end == nil { state.end = end }
      guard let end = state.end, let waiter = state.waiter else {
        return (nil as CheckedContinuation<[HistoryEvent], any Error>?, Result<[HistoryEvent], any Error>.success([]))
      }
      state.waiter = nil
      return (waiter, end.map { state.events }.mapError { $0 as any Error })
    }
    waiter?.resume(with: result)
  }
}
