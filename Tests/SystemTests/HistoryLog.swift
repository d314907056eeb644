// What a node says happened: every change of every key, in the order of revisions, as a watcher from the first revision
// on is told it; and what it says of itself.

import Foundation
import NIOCore
import NIOPosix
import Protocol
import Synchronization
import Wire

struct HistoryEvent: Sendable, Equatable {
  let revision: Int64
  let key: String
  /// Nil: it was deleted.
  let value: String?
}

struct NodeStatus: Sendable {
  let isLeader: Bool
  let term: UInt64
  let revision: Int64
}

enum HistoryLog {
  struct Trouble: Error, CustomStringConvertible {
    let description: String
  }

  /// Every event of a node up to the one that put `marker`.
  static func read(port: Int, through marker: String) async throws -> [HistoryEvent] {
    let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    let connection = try await WireConnection.connect(host: "127.0.0.1", port: port, on: eventLoop).get()
    defer { connection.close() }
    let collector = Collector(marker: marker)
    let stream = connection.openStream(RPCPath.Watch.watch, handler: collector)
    var create = Etcdserverpb_WatchCreateRequest()
    create.key = Data([0])
    create.rangeEnd = Data([0])
    create.startRevision = 1
    var request = Etcdserverpb_WatchRequest()
    request.requestUnion = .createRequest(create)
    try stream.send(request)
    // A watch has no deadline of its own: a node that says nothing more must not hold up the test for ever.
    let alarm = eventLoop.scheduleTask(in: .seconds(30)) { connection.close() }
    defer { alarm.cancel() }
    return try await collector.events()
  }

  /// The state of every key that the history uses, as one linearizable read of a node shows it.
  static func state(port: Int) async throws -> [String: HistoryState] {
    let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    let connection = try await WireConnection.connect(host: "127.0.0.1", port: port, on: eventLoop).get()
    defer { connection.close() }
    var request = HistoryClient.range(HistoryRecorder.prefix, isSerializable: false)
    request.rangeEnd = Data("history0".utf8)
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
    state.withLock { $0.events += events }
    if events.contains(where: { $0.value == marker }) { settle(.success(())) }
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
