// Holders of many leases, who know by their own clock when each may end and no sooner.

import Foundation
import NIOConcurrencyHelpers
import NIOCore
import Protocol
import Testing
import Wire

/// Leases with a key each, all kept alive by one client.
///
/// `@unchecked Sendable`: the connection is thread-safe, and everything that changes is in the locked box.
final class Holders: ClientStreamHandler {
  struct Held: Sendable {
    /// When the last renewal that was answered was sent, or the grant.
    var sentNanoseconds: UInt64
    /// When it was answered: the lease must be gone a time to live behind the last answer, and a bound.
    var answeredNanoseconds: UInt64
    var endedNanoseconds: UInt64?
  }

  private struct State {
    var held: [Int64: Held] = [:]
    var ended = 0
    /// Leases that may be renewed: the one whose renewal is longest ago stands at `turn`.
    var turns: [Int64] = []
    var turn = 0
    /// Renewals under way, with when they were sent: a lease has one at a time.
    var asked: [Int64: UInt64] = [:]
    /// Leases that the cluster said had ended.
    var lost: Set<Int64> = []
    var stream: ClientStream?
    var end: RPCStatus?
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  let ttlMilliseconds: Int64
  private let state = NIOLockedValueBox(State())

  init(ttlMilliseconds: Int64) { self.ttlMilliseconds = ttlMilliseconds }

  var leases: [Int64] { state.withLockedValue { Array($0.held.keys) } }
  var held: [Int64: Held] { state.withLockedValue { $0.held } }
  var lost: Set<Int64> { state.withLockedValue { $0.lost } }

  static func key(_ lease: Int64) -> String { "held/\(lease)" }

  /// Grants so many leases, `together` of them at a time, each with a key if that is wanted.
  func grant(_ count: Int, on connection: WireConnection, together: Int = 64, withKeys: Bool = true) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<count {
        if number >= together { try await group.next() }
        group.addTask { [self] in
          var request = Portcullis_V1_GrantLeaseRequest()
          request.ttlMs = ttlMilliseconds
          let sent = Clock.nanoseconds
          let granted = try await connection.unary(
            RPCPath.Leases.grant, request, as: Portcullis_V1_GrantLeaseResponse.self)
          #expect(granted.ttlMs == ttlMilliseconds)
          let held = Held(sentNanoseconds: sent, answeredNanoseconds: Clock.nanoseconds)
          state.withLockedValue { state in
            state.held[granted.lease] = held
            state.turns.append(granted.lease)
          }
          if withKeys { try await connection.put(Self.key(granted.lease), lease: granted.lease) }
        }
      }
      try await group.waitForAll()
    }
  }

  /// From here on renewals go over this connection.
  func connect(_ connection: WireConnection) {
    let stream = connection.openStream(RPCPath.Leases.keepAlive, handler: self)
    state.withLockedValue { state in
      state.stream = stream
      state.end = nil
      state.turns = Array(state.asked.keys) + Array(state.turns[state.turn...])
      state.turn = 0
      state.asked = [:]
    }
  }

  var hasEnded: Bool { state.withLockedValue { $0.end != nil } }

  /// Renews all that are due: those whose last renewal was sent longer ago than a share of their time.
  func renew(share: Double = 1.0 / 3, atMost: Int = .max) throws {
    let now = Clock.nanoseconds
    let age = UInt64(Double(ttlMilliseconds) * 1e6 * share)
    let (stream, due) = state.withLockedValue { state -> (ClientStream?, [Int64]) in
      var due: [Int64] = []
      while state.turn < state.turns.count, due.count < atMost {
        let lease = state.turns[state.turn]
        guard let held = state.held[lease], now - held.sentNanoseconds >= age else { break }
        state.turn += 1
        if held.endedNanoseconds == nil { due.append(lease) }
      }
      for lease in due { state.asked[lease] = now }
      return (state.stream, due)
    }
    for lease in due {
      var request = Portcullis_V1_KeepLeaseRequest()
      request.lease = lease
      try stream?.send(request)
    }
  }

  func received(_ message: ByteBuffer) {
    guard let response = try? Portcullis_V1_KeepLeaseResponse(received: message) else { return }
    let now = Clock.nanoseconds
    state.withLockedValue { state in
      guard let sent = state.asked.removeValue(forKey: response.lease) else { return }
      if response.ttlMs == 0 {
        state.lost.insert(response.lease)
      } else {
        state.held[response.lease]?.sentNanoseconds = sent
        state.held[response.lease]?.answeredNanoseconds = now
        state.turns.append(response.lease)
      }
    }
  }

  func closed(_ status: RPCStatus) { state.withLockedValue { $0.end = status } }

  /// A watcher heard that a lease's key is gone.
  func ended(_ lease: Int64, at nanoseconds: UInt64) {
    let ready = state.withLockedValue { state in
      if let held = state.held[lease], held.endedNanoseconds == nil { state.ended += 1 }
      state.held[lease]?.endedNanoseconds = nanoseconds
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in ready { waiter.resume() }
  }

  /// Returns when the keys of so many leases are gone.
  func waitForEnds(_ count: Int) async {
    while state.withLockedValue({ $0.ended }) < count {
      await withCheckedContinuation { continuation in state.withLockedValue { $0.waiters.append(continuation) } }
    }
  }

  /// Milliseconds by which the earliest lease ended before its time, by this client's clock; 0 if none did.
  var earliestBy: Double {
    let ttl = UInt64(ttlMilliseconds) * 1_000_000
    return held.values.compactMap { held in
      held.endedNanoseconds.map { Double(held.sentNanoseconds + ttl) - Double($0) }
    }.max().map { max(0, $0) / 1e6 } ?? 0
  }

  /// Milliseconds by which the latest ended behind its time.
  var latestBy: Double {
    let ttl = UInt64(ttlMilliseconds) * 1_000_000
    return held.values.compactMap { held in
      held.endedNanoseconds.map { Double($0) - Double(held.answeredNanoseconds + ttl) }
    }.max().map { max(0, $0) / 1e6 } ?? 0
  }
}

/// Tells holders when their keys are gone.
final class EndWatcher: ClientStreamHandler {
  private let groups: [Holders]
  private let created = AsyncStream<Void>.makeStream()

  init(_ groups: [Holders]) { self.groups = groups }

  func start(on connection: WireConnection) async throws {
    var request = Etcdserverpb_WatchRequest()
    request.createRequest.key = Data("held/".utf8)
    request.createRequest.rangeEnd = Data("held0".utf8)
    request.createRequest.filters = [.noput]
    try connection.openStream(RPCPath.Watch.watch, handler: self).send(request)
    var iterator = created.stream.makeAsyncIterator()
    _ = await iterator.next()
  }

  func received(_ message: ByteBuffer) {
    let now = Clock.nanoseconds
    guard let response = try? Etcdserverpb_WatchResponse(received: message) else { return }
    if response.created { created.continuation.yield() }
    for event in response.events {
      let name = String(decoding: event.kv.key, as: UTF8.self).dropFirst("held/".count)
      guard let lease = Int64(name) else { continue }
      for group in groups { group.ended(lease, at: now) }
    }
  }

  func closed(_ status: RPCStatus) { created.continuation.finish() }
}
