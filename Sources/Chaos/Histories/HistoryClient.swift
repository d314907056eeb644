// One client: it asks one node at a time, with one request on the wire for each operation and never a second attempt.
// Connections are kept while they hold, also those to nodes that it left: thousands of new ones would be a load of their
// own.

import Foundation
package import NIOCore
import NIOPosix
import Protocol
import Wire

/// Used by one task at a time.
package final class HistoryClient {
  package let number: Int
  private let ports: [Int]
  package private(set) var node: Int
  private var connections: [Int: WireConnection] = [:]
  private let eventLoop = MultiThreadedEventLoopGroup.singleton.next()

  /// - Parameter ports: where the nodes serve clients, on loopback.
  package init(_ number: Int, ports: [Int], node: Int) {
    self.number = number
    self.ports = ports
    self.node = node
  }

  package func close() {
    for connection in connections.values { connection.close() }
    connections = [:]
  }

  package func moveOn(to node: Int? = nil) { self.node = (node ?? self.node + 1) % ports.count }

  package func perform(_ call: HistoryCall, on key: String, timeout: TimeAmount) async -> HistoryOperation {
    let invoked = HistoryClock.nanoseconds
    let outcome = await outcome(of: call, on: key, timeout: timeout)
    return HistoryOperation(
      client: number, node: node, key: key, call: call, invoked: invoked, returned: HistoryClock.nanoseconds,
      outcome: outcome)
  }

  private func outcome(of call: HistoryCall, on key: String, timeout: TimeAmount) async -> HistoryOutcome {
    let deadline = NIODeadline.now() + timeout
    guard let open = await connection() else { return .failed("not connected") }
    do throws(RPCStatus) {
      let (answer, revision) = try await send(call, key, over: open, deadline: deadline)
      return .ok(answer, revision: revision)
    } catch {
      let isAnswer = error.message.hasPrefix("etcdserver: ") || error.code == .deadlineExceeded
      if !isAnswer { connections.removeValue(forKey: node)?.close() }
      // The server's word that it did nothing. Whatever else goes wrong, the operation may have been carried out.
      let isRefusal = error.message == "etcdserver: no leader" || error.message == "etcdserver: too many requests"
      return isRefusal ? .failed(error.message) : .unknown(error.description)
    }
  }

  private func connection() async -> WireConnection? {
    if let open = connections[node] { return open }
    let made = try? await WireConnection.connect(host: "127.0.0.1", port: ports[node], on: eventLoop).get()
    connections[node] = made
    return made
  }

  /// What a node says of itself, now.
  package func status(of node: Int) async -> NodeStatus? {
    moveOn(to: node)
    guard let connection = await connection() else { return nil }
    do throws(RPCStatus) {
      let answer = try await connection.unary(
        RPCPath.Maintenance.status, Etcdserverpb_StatusRequest(), as: Etcdserverpb_StatusResponse.self,
        deadline: .now() + .milliseconds(500))
      return NodeStatus(
        isLeader: answer.leader == answer.header.memberID && answer.leader != 0, term: answer.raftTerm,
        revision: answer.header.revision)
    } catch {
      connections.removeValue(forKey: node)?.close()
      return nil
    }
  }

  private func send(
    _ call: HistoryCall, _ key: String, over connection: WireConnection, deadline: NIODeadline
  ) async throws(RPCStatus) -> (HistoryAnswer, Int64) {
    switch call {
    case .get, .getSerializable:
      let request = Self.range(key, isSerializable: call == .getSerializable)
      let response = try await connection.unary(
        RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, deadline: deadline)
      return (.read(HistoryState(response)), response.header.revision)
    case .put(let value):
      let response = try await connection.unary(
        RPCPath.KV.put, Self.put(key, value), as: Etcdserverpb_PutResponse.self, deadline: deadline)
      return (.written, response.header.revision)
    case .delete:
      var request = Etcdserverpb_DeleteRangeRequest()
      request.key = Data(key.utf8)
      let response = try await connection.unary(
        RPCPath.KV.deleteRange, request, as: Etcdserverpb_DeleteRangeResponse.self, deadline: deadline)
      return (.deleted(response.deleted == 1), response.header.revision)
    case .compareAndPut(let expectation, let value):
      let response = try await connection.unary(
        RPCPath.KV.txn, Self.exchange(key, expectation, value), as: Etcdserverpb_TxnResponse.self, deadline: deadline)
      if response.succeeded { return (.exchanged, response.header.revision) }
      guard let seen = response.responses.first?.responseRange else {
        throw RPCStatus(.internalError, "a transaction without the answer to its read")
      }
      return (.differed(HistoryState(seen)), response.header.revision)
    }
  }

  static func range(_ key: String, isSerializable: Bool) -> Etcdserverpb_RangeRequest {
    var request = Etcdserverpb_RangeRequest()
    request.key = Data(key.utf8)
    request.serializable = isSerializable
    return request
  }

  private static func put(_ key: String, _ value: String) -> Etcdserverpb_PutRequest {
    var request = Etcdserverpb_PutRequest()
    request.key = Data(key.utf8)
    request.value = Data(value.utf8)
    return request
  }

  private static func exchange(
    _ key: String, _ expectation: HistoryExpectation, _ value: String
  ) -> Etcdserverpb_TxnRequest {
    var compare = Etcdserverpb_Compare()
    compare.key = Data(key.utf8)
    compare.result = .equal
    switch expectation {
    case .modRevision(let revision):
      compare.target = .mod
      compare.modRevision = revision
    case .value(let value):
      compare.target = .value
      compare.value = Data(value.utf8)
    }
    var write = Etcdserverpb_RequestOp()
    write.request = .requestPut(put(key, value))
    var read = Etcdserverpb_RequestOp()
    read.request = .requestRange(range(key, isSerializable: false))
    var request = Etcdserverpb_TxnRequest()
    request.compare = [compare]
    request.success = [write]
    request.failure = [read]
    return request
  }
}

extension HistoryState {
  init(_ response: Etcdserverpb_RangeResponse) {
    guard let pair = response.kvs.first else {
      self = .absent
      return
    }
    self.init(value: String(decoding: pair.value, as: UTF8.self), modRevision: pair.modRevision)
  }
}
