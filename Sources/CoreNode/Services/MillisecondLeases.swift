// portcullis.v1.Leases: etcd's leases for those who count in milliseconds. The leases are the same, and so is what renews
// and ends them; only the messages differ.

import CoordinationCore
import Foundation
import NIOCore
import Protocol
import Wire

struct MillisecondLeases: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.Leases.grant: .unary(grant),
      RPCPath.Leases.timeToLive: .unary(timeToLive),
      RPCPath.Leases.revoke: .unary(revoke),
      RPCPath.Leases.keepAlive: .streaming { [core] call in
        KeepAliveStream(call, core: core, lease: Self.leaseToRenew) { Self.answer($0, call, core, $1) }
      },
    ]
  }

  @Sendable private func grant(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_GrantLeaseRequest.self, from: body) else { return }
    let least = core.configuration.minimumLeaseMilliseconds
    guard message.ttlMs >= least else {
      return call.fail(
        RPCStatus(.invalidArgument, "a lease needs a ttl_ms of at least \(least), this one has \(message.ttlMs)"))
    }
    guard message.ttlMs / 1000 <= core.configuration.limits.maxLeaseSeconds else {
      return call.fail(.etcd(.outOfRange, "too large lease TTL"))
    }
    let name: ClientSequence?
    do throws(RPCStatus) { name = try call.requestName() } catch { return call.fail(error) }
    let id = message.lease == 0 ? LeaseService.newID(for: name) : message.lease
    call.submit(.leaseGrant(id, ttlMilliseconds: message.ttlMs), to: core) { [core] outcome, snapshot, _ in
      guard case .leaseGranted(let granted, let ttlMilliseconds) = outcome else {
        preconditionFailure("a grant of a lease ends with a lease")
      }
      var response = Portcullis_V1_GrantLeaseResponse()
      response.evidence = core.evidence(snapshot)
      response.lease = granted
      response.ttlMs = ttlMilliseconds
      call.respond(response)
    }
  }

  @Sendable private func revoke(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_EndLeaseRequest.self, from: body) else { return }
    call.submit(.leaseRevoke(message.lease), to: core) { [core] _, snapshot, _ in
      var response = Portcullis_V1_EndLeaseResponse()
      response.evidence = core.evidence(snapshot)
      call.respond(response)
    }
  }

  @Sendable private func timeToLive(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_LeaseTimeRequest.self, from: body) else { return }
    core.readLinearizably(on: call.eventLoop) { [core] result in
      switch result {
      case .failure(let failure): call.fail(RPCStatus(failure))
      case .success(let snapshot):
        do throws(RequestError) {
          try core.checkUser(call, in: snapshot)
          if message.keys { try core.checkListing(of: message.lease, by: call, in: snapshot) }
          call.respond(Self.timeToLive(message, snapshot, core))
        } catch {
          call.fail(RPCStatus(error))
        }
      }
    }
  }

  private static func timeToLive(
    _ message: Portcullis_V1_LeaseTimeRequest, _ snapshot: Snapshot, _ core: CoreAccess
  ) -> Portcullis_V1_LeaseTimeResponse {
    var response = Portcullis_V1_LeaseTimeResponse()
    response.evidence = core.evidence(snapshot)
    response.lease = message.lease
    guard let lease = snapshot.state.leases[message.lease] else { return response }
    response.isLive = true
    response.ttlMs = lease.ttlMilliseconds
    response.timeLeftMs = max(0, lease.remainingMilliseconds(at: snapshot.clusterMilliseconds))
    if message.keys { response.keys = lease.attachedKeys.map { Data($0.bytes) } }
    return response
  }

  private static func leaseToRenew(_ call: StreamCall, _ message: ByteBuffer) -> LeaseID? {
    call.decode(Portcullis_V1_KeepLeaseRequest.self, from: message)?.lease
  }

  private static func answer(
    _ renewal: KeepAliveStream.Renewal, _ call: StreamCall, _ core: CoreAccess, _ snapshot: Snapshot
  ) {
    var response = Portcullis_V1_KeepLeaseResponse()
    response.evidence = core.evidence(snapshot)
    response.lease = renewal.lease
    response.ttlMs = renewal.ttlMilliseconds
    _ = call.send(response)
  }
}
