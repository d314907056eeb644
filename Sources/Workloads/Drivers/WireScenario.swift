// What an etcd v3 target needs before a load, and what is taken away again.

import Foundation
import Measurement
import NIOCore
import Protocol
import SwiftProtobuf
import Wire

/// What was made for a load.
struct WirePrepared: Sendable {
  var leases: [Int64] = []
}

struct WireScenario<Driver: LoadDriver>: LoadScenario where Driver.Connection == WireConnection {
  let plan: LoadPlan
  let make: @Sendable (LoadPlan, LoopPlace, WirePrepared) -> Driver

  /// Locks end with their leases; a client that is killed leaves its own behind for no longer than this.
  private static var lockLeaseSeconds: Int64 { 3600 }
  /// etcd's limit for a transaction is 128 operations.
  private static var keysPerTransaction: UInt64 { 100 }

  func driver(at place: LoopPlace, _ prepared: WirePrepared) -> Driver { make(plan, place, prepared) }

  func describe(over connection: WireConnection) async -> TargetDescription {
    var target = TargetDescription(endpoints: plan.endpoints.map(\.description))
    let answer = try? await connection.unary(
      RPCPath.Maintenance.status, Etcdserverpb_StatusRequest(), as: Etcdserverpb_StatusResponse.self,
      deadline: .now() + .seconds(2))
    guard let answer else { return target }
    if !answer.version.isEmpty { target.version = answer.version }
    if answer.header.clusterID != 0 { target.cluster = String(answer.header.clusterID, radix: 16) }
    return target
  }

  func prepare(over connections: [WireConnection]) async throws(WorkloadError) -> WirePrepared {
    var prepared = WirePrepared()
    if plan.configuration.operation.readsKeys { try await putKeys(over: connections) }
    switch (plan.configuration.operation, plan.configuration.shape) {
    case (.renew(let count, let seconds), _):
      prepared.leases = try await grant(count, seconds, over: connections)
    case (.lock, .closed(let clients)):
      prepared.leases = try await grant(clients, Self.lockLeaseSeconds, over: connections)
    default: break
    }
    return prepared
  }

  func finish(_ prepared: WirePrepared, over connections: [WireConnection], _ measured: inout LoadFigures) async {
    guard !connections.isEmpty else { return }
    _ = try? await inParallel(prepared.leases.count, atOnce: 64) { number throws(WorkloadError) in
      _ = try await Self.call(
        RPCPath.Lease.leaseRevoke, Etcdserverpb_LeaseRevokeRequest.with { $0.id = prepared.leases[number] },
        as: Etcdserverpb_LeaseRevokeResponse.self, over: connections[number % connections.count], "a lease", seconds: 5)
    }
  }

  private func putKeys(over connections: [WireConnection]) async throws(WorkloadError) {
    let (count, template) = (plan.configuration.keyCount, PutTemplate(plan.configuration))
    let transactions = Int((count + Self.keysPerTransaction - 1) / Self.keysPerTransaction)
    _ = try await inParallel(transactions, atOnce: 8) { number throws(WorkloadError) in
      let first = UInt64(number) * Self.keysPerTransaction
      var request = Etcdserverpb_TxnRequest()
      for key in first..<Swift.min(first + Self.keysPerTransaction, count) {
        guard let put = try? Etcdserverpb_PutRequest(received: template.request(forKey: key)) else { continue }
        request.success.append(.with { $0.requestPut = put })
      }
      _ = try await Self.call(
        RPCPath.KV.txn, request, as: Etcdserverpb_TxnResponse.self, over: connections[number % connections.count],
        "the keys to read")
    }
  }

  private func grant(
    _ count: Int, _ seconds: Int64, over connections: [WireConnection]
  ) async throws(WorkloadError) -> [Int64] {
    try await inParallel(count, atOnce: 64) { number throws(WorkloadError) in
      try await Self.call(
        RPCPath.Lease.leaseGrant, Etcdserverpb_LeaseGrantRequest.with { $0.ttl = seconds },
        as: Etcdserverpb_LeaseGrantResponse.self, over: connections[number % connections.count], "a lease"
      ).id
    }
  }

  private static func call<Request: Message, Response: Message & Sendable>(
    _ path: String, _ request: Request, as type: Response.Type, over connection: WireConnection, _ what: String,
    seconds: Int64 = 30
  ) async throws(WorkloadError) -> Response {
    do throws(RPCStatus) {
      return try await connection.unary(path, request, as: type, deadline: .now() + .seconds(seconds))
    } catch {
      guard error.code != .cancelled else {
        throw WorkloadError(.interrupted, "stopped before the load began: \(what) was not made yet")
      }
      throw WorkloadError(.unreachable, "the load needs \(what), which could not be made: \(error.message)")
    }
  }
}

extension OperationSetting {
  /// Whether keys must be there before.
  fileprivate var readsKeys: Bool {
    switch self {
    case .get, .list: true
    case .mix(let parts): parts.contains { $0.operation.readsKeys }
    default: false
    }
  }
}

extension ByteBuffer {
  static func encoding(_ message: some Message) -> ByteBuffer {
    // A message without required fields, as all of these are, is encoded without fail.
    ByteBuffer(bytes: (try? message.serializedBytes() as [UInt8]) ?? [])
  }
}
