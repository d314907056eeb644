// The locks of an etcd, as its own clients take them: a lease that is renewed, and a key of the Lock service that lives on
// it. There is no token, so there is nothing to show to a resource.

package import Client
import Dispatch
import Foundation
import Protocol
import Synchronization
import Wire

/// Any task may use it.
package final class EtcdLocks: LockService {
  private struct Lock: Sendable {
    let lease: Int64
    let milliseconds: Int
    let keys: [Data]
    let renewal: Task<Loss, Never>
  }

  private let client: Portcullis
  /// Its leases begin with it, so that a lock's key tells whose it is.
  private let writer: Int
  private let state = Mutex<(next: Int64, held: [Lock])>((0, []))

  package init(endpoints: [Endpoint], writer: Int) {
    client = Portcullis(endpoints: endpoints)
    self.writer = writer
  }

  private static let leasesOfOne: Int64 = 1_000_000

  /// Whose lock it is, by the lease that its key lives on.
  package static func writer(ofLease lease: Int64) -> Int { Int(lease / leasesOfOne) }

  package func acquire(_ order: AcquireOrder) async throws -> [Held] {
    let lease = state.withLock { state in
      state.next += 1
      return Int64(writer) * Self.leasesOfOne + state.next
    }
    // etcd knows whole seconds.
    let seconds = max(1, (order.milliseconds + 999) / 1000)
    var grant = Etcdserverpb_LeaseGrantRequest()
    grant.id = lease
    grant.ttl = Int64(seconds)
    let granted = try await client.call(
      RPCPath.Lease.leaseGrant, grant, as: Etcdserverpb_LeaseGrantResponse.self, isRepeatable: false)
    let renewal = Task { [client] in await Self.keepAlive(lease, seconds: Int(granted.ttl), client) }
    var keys: [Data] = []
    do {
      for scope in order.scopes {
        var request = V3lockpb_LockRequest()
        request.name = Data(scope.utf8)
        request.lease = lease
        let locked = try await client.call(
          RPCPath.Lock.lock, request, as: V3lockpb_LockResponse.self, isRepeatable: true,
          timeout: .milliseconds(order.waitMilliseconds))
        keys.append(locked.key)
      }
    } catch {
      renewal.cancel()
      throw error
    }
    let lock = Lock(lease: lease, milliseconds: seconds * 1000, keys: keys, renewal: renewal)
    state.withLock { $0.held.append(lock) }
    return order.scopes.map { Held(scope: $0, number: 0, proof: "", lease: lease, isConfirmed: false) }
  }

  /// Three times in the lease's length, as etcd's own client does, until it is gone or the task is cancelled.
  private static func keepAlive(_ lease: Int64, seconds: Int, _ client: Portcullis) async -> Loss {
    var deadline = DispatchTime.now().uptimeNanoseconds + UInt64(seconds) * 1_000_000_000
    while true {
      // The pace of renewing.
      guard (try? await Task.sleep(for: .milliseconds(seconds * 1000 / 3))) != nil else {
        return Loss(why: "given up", nanoseconds: DispatchTime.now().uptimeNanoseconds)
      }
      let sent = DispatchTime.now().uptimeNanoseconds
      if sent >= deadline { return Loss(why: "deadline passed", nanoseconds: deadline) }
      var request = Etcdserverpb_LeaseKeepAliveRequest()
      request.id = lease
      let answer = try? await client.call(
        RPCPath.Lease.leaseKeepAlive, request, as: Etcdserverpb_LeaseKeepAliveResponse.self, isRepeatable: true,
        timeout: .nanoseconds(Int64(deadline - sent)))
      guard let answer else { continue }
      if answer.ttl <= 0 { return Loss(why: "ended by etcd", nanoseconds: DispatchTime.now().uptimeNanoseconds) }
      deadline = sent + UInt64(answer.ttl) * 1_000_000_000
    }
  }

  package func waitUntilLost() async -> Loss? { await state.withLock { $0.held.last }?.renewal.value }

  package func release() async {
    let held = state.withLock { state in
      defer { state.held = [] }
      return state.held
    }
    for lock in held {
      lock.renewal.cancel()
      var request = Etcdserverpb_LeaseRevokeRequest()
      request.id = lock.lease
      // With the lease go its keys. What fails ends by itself.
      _ = try? await client.call(
        RPCPath.Lease.leaseRevoke, request, as: Etcdserverpb_LeaseRevokeResponse.self, isRepeatable: true)
    }
  }

  package func close() async {
    await release()
    client.close()
  }

  /// Which writer has the lock: the one whose key is the oldest, as the Lock service has it.
  package static func holder(of scope: String, _ client: Portcullis) async throws -> Int? {
    var request = Etcdserverpb_RangeRequest()
    request.key = Data("\(scope)/".utf8)
    request.rangeEnd = Data("\(scope)0".utf8)
    request.sortTarget = .create
    request.sortOrder = .ascend
    request.limit = 1
    let response = try await client.call(
      RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, isRepeatable: true)
    return response.kvs.first.map { writer(ofLease: $0.lease) }
  }
}
