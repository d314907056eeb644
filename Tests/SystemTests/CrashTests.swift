// kill -9 of each of three nodes in turn while writers write: what was acknowledged is there afterwards.

import Client
import Foundation
import Glibc
import Protocol
import Synchronization
import Testing
import Wire

@Suite("crashes", .serialized)
struct CrashTests {
  @Test("no acknowledged write is lost when any one of three nodes is killed under load")
  func killEach() async throws {
    let nodes = try ThreeNodes()
    try await nodes.start()
    let load = Load(endpoints: nodes.endpoints)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<8 { group.addTask { try await load.write(writer) } }
      for node in 0..<3 {
        try await load.waitForAcknowledged(more: 200)
        await nodes.kill(node)
        // The other two go on, if need be after an election.
        try await load.waitForAcknowledged(more: 200)
        try await nodes.restart(node)
      }
      try await load.waitForAcknowledged(more: 200)
      load.stop()
      try await group.waitForAll()
    }
    let acknowledged = load.acknowledged
    #expect(acknowledged.count >= 1400, "too few writes to say anything: \(acknowledged.count)")
    for endpoint in nodes.clients {
      let stored = try await Load.read(from: endpoint)
      for (key, value) in acknowledged {
        let found = stored[key]
        #expect(found == value, "\(endpoint) has \(found ?? "nothing") for \(key), which was acknowledged as \(value)")
        if found != value { break }
      }
    }
    await nodes.stop()
  }
}

/// Writers that each count upwards in keys of their own, and what was acknowledged to them.
final class Load: Sendable {
  private struct State {
    var acknowledged: [String: String] = [:]
    var isStopped = false
    var waiters: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
  }

  private let endpoints: String
  private let state = Mutex(State())

  init(endpoints: String) { self.endpoints = endpoints }

  var acknowledged: [String: String] { state.withLock { $0.acknowledged } }

  func stop() { state.withLock { $0.isStopped = true } }

  func write(_ writer: Int) async throws {
    let all = try Endpoint.list(parsing: endpoints)
    // Each writer prefers another node, so followers are written through as well.
    let turn = writer % all.count
    let client = Portcullis(endpoints: Array(all[turn...] + all[..<turn]))
    defer { client.close() }
    var count = 0
    while !state.withLock({ $0.isStopped }), !Task.isCancelled {
      count += 1
      var request = Etcdserverpb_PutRequest()
      request.key = Data("load/\(writer)/\(count)".utf8)
      request.value = Data("\(count)".utf8)
      do {
        let response = try await client.call(
          RPCPath.KV.put, request, as: Etcdserverpb_PutResponse.self, isRepeatable: false, timeout: .seconds(3))
        #expect(response.header.revision > 0)
        acknowledge("load/\(writer)/\(count)", "\(count)")
      } catch {
        // Unknown or refused: nothing is claimed for this key. The client itself pauses between its attempts.
        await Task.yield()
      }
    }
  }

  private func acknowledge(_ key: String, _ value: String) {
    let ready = state.withLock { state in
      state.acknowledged[key] = value
      let count = state.acknowledged.count
      let ready = state.waiters.filter { $0.count <= count }
      state.waiters.removeAll { $0.count <= count }
      return ready
    }
    for waiter in ready { waiter.continuation.resume() }
  }

  /// - Throws: `CancellationError` when the test is given up; the writers stop then as well.
  func waitForAcknowledged(more: Int) async throws {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isOver = state.withLock { state in
          if !Task.isCancelled { state.waiters.append((state.acknowledged.count + more, continuation)) }
          return Task.isCancelled
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      let waiters = state.withLock { state in
        defer { state.waiters = [] }
        return state.waiters
      }
      for waiter in waiters { waiter.continuation.resume() }
    }
    try Task.checkCancellation()
  }

  /// Everything that one node gives in a linearizable read.
  static func read(from endpoint: String) async throws -> [String: String] {
    let client = Portcullis(endpoints: try Endpoint.list(parsing: endpoint))
    defer { client.close() }
    var request = Etcdserverpb_RangeRequest()
    request.key = Data("load/".utf8)
    request.rangeEnd = Data("load0".utf8)
    let response = try await client.call(
      RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, isRepeatable: true, timeout: .seconds(20))
    return Dictionary(
      uniqueKeysWithValues: response.kvs.map {
        (String(decoding: $0.key, as: UTF8.self), String(decoding: $0.value, as: UTF8.self))
      })
  }
}
