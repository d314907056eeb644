// Locks that are taken in turn: each client takes one and gives it back, over and over, and what is measured is the hand-over:
// from when the one before gave the lock back, or from the client's own call if nobody had it, to the answer that grants it.
//
// The clients of a lock are all on one event loop, so that one thread sees the order of its grants.

import Foundation
import Measurement
import NIOCore
import Protocol
import Wire

final class LockDriver: LoadDriver {
  private struct Site {
    let name: String
    var givenBackAt: UInt64 = 0
    var number: Int64 = 0
  }

  private let leases: [Int64]
  private var sites: [Site]

  /// - Precondition: there are as many names as event loops at least.
  init(_ plan: LoadPlan, _ place: LoopPlace, _ prepared: WirePrepared, names: Int) {
    leases = Array(prepared.leases[place.firstClient..<place.firstClient + place.share.clients])
    let own = (names - place.index + place.count - 1) / place.count
    sites = (0..<own).map { Site(name: "\(plan.configuration.keyPrefix)lock-\(place.index)-\($0)") }
  }

  func start(_ call: OperationCall, on connection: WireConnection, lane: Int, _ sink: any OperationSink) {
    let site = call.client % sites.count
    let request = V3lockpb_LockRequest.with {
      $0.name = .init(sites[site].name.utf8)
      $0.lease = leases[call.client]
    }
    let bound = NIOLoopBound(self, eventLoop: connection.eventLoop)
    connection.unary(RPCPath.Lock.lock, .encoding(request)) { result in
      switch result {
      case .failure(let status): sink.ended(call.ticket, OperationEnding(.failed(status)))
      case .success(let bytes): bound.value.granted(bytes, site, call, connection, sink)
      }
    }
  }

  private func granted(
    _ bytes: ByteBuffer, _ site: Int, _ call: OperationCall, _ connection: WireConnection, _ sink: any OperationSink
  ) {
    let now = MonotonicClock.nanoseconds()
    var ending = OperationEnding(.succeeded)
    guard let answer = try? V3lockpb_LockResponse(received: bytes) else {
      return sink.ended(call.ticket, OperationEnding(.succeeded, violation: "an answer that is no LockResponse"))
    }
    let number = answer.header.revision
    if number <= sites[site].number {
      ending.violation = "\(sites[site].name) was granted at revision \(number) after \(sites[site].number)"
    }
    ending.latencyNanoseconds = now - Swift.max(call.sent, sites[site].givenBackAt)
    sites[site].number = number
    giveBack(answer, site, call, ending, connection, sink)
  }

  /// The next may have the lock before the answer to this is here, so it counts as given back when it is sent.
  private func giveBack(
    _ answer: V3lockpb_LockResponse, _ site: Int, _ call: OperationCall, _ ending: OperationEnding,
    _ connection: WireConnection,
    _ sink: any OperationSink
  ) {
    let request = V3lockpb_UnlockRequest.with { $0.key = answer.key }
    sites[site].givenBackAt = MonotonicClock.nanoseconds()
    connection.unary(RPCPath.Lock.unlock, .encoding(request)) { result in
      switch result {
      case .success: sink.ended(call.ticket, ending)
      case .failure(let status): sink.ended(call.ticket, OperationEnding(.failed(status), violation: ending.violation))
      }
    }
  }
}
