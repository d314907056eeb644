// What several scenarios do on their stage: ending a lease at the core, waiting for its end, statements that take long.

import Client
import Foundation
import Protocol

extension Stage {
  /// Ends a lease at the core, as an operator or a lost renewal would. Its holder is not told before its next renewal.
  package func end(_ held: Held) async throws {
    if case .adapter(let system) = outside {
      return try await AdapterClient(address: system.address).release(held.name ?? "")
    }
    var request = Etcdserverpb_LeaseRevokeRequest()
    request.id = held.lease
    let message = request
    try await withClient { client in
      _ = try await client.call(
        RPCPath.Lease.leaseRevoke, message, as: Etcdserverpb_LeaseRevokeResponse.self, isRepeatable: true)
    }
  }

  /// Returns when the core has ended a lease: a key that lives on it goes with it, and a watch tells. Behind an adapter it
  /// has ended when somebody else can have the lock.
  package func waitForEnd(of held: Held) async throws {
    if case .adapter(let system) = outside {
      let locks = AdapterLocks(address: system.address, holder: "the run")
      _ = try await locks.acquire(AcquireOrder([held.scope]))
      return await locks.close()
    }
    try await withClient { client in
      let key = "conformance/\(mark)/\(held.lease)"
      let revision: Int64
      do {
        revision = try await client.put(key, held.scope, lease: held.lease)
      } catch let error as ClientError where error.code == .sessionLost {
        return
      }
      for try await event in client.events(of: .key(key), from: revision + 1) {
        if case .deleted = event { return }
      }
      try Task.checkCancellation()
    }
  }

  /// SQL that counts for about so long on this machine and now, for use as a value.
  package func slowCount(_ duration: Duration, at resource: GatewayResource, database: String? = nil) async throws
    -> String
  {
    func count(to last: Int) -> String {
      "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \(last)) SELECT count(*) FROM n)"
    }
    let sample = 200_000
    let began = ContinuousClock.now
    _ = try await resource.read("SELECT \(count(to: sample))", on: database ?? name)
    let perRow = (ContinuousClock.now - began) / sample
    return count(to: max(sample, Int(duration / max(perRow, .nanoseconds(1)))))
  }

  /// Returns when the gateway is at work on so many requests.
  package func waitUntilBusy(_ resource: GatewayResource, requests: Int = 1) async throws {
    while try await resource.gauge("requests") < Double(requests) { try Task.checkCancellation() }
  }
}

extension GatewayResource {
  /// Whether the gateway is at work on any request.
  var isBusy: Bool { get async throws { try await gauge("requests") >= 1 } }
}
