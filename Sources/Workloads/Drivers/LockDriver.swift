// Locks that are taken in turn: each client takes one, holds it and gives it back, over and over, and what is measured is the
// hand-over: from when the one before gave the lock back, or from the client's own call if nobody had it, to the answer that
// grants it.
//
// The clients of a lock are all on one event loop, so that one thread and one clock see the order of its grants and who holds
// it.
//
// Invariant: what counts as held is what the client may rely on, from the answer that grants it to the call that gives it
// back. A lock that is held so by two clients at once was granted twice; the other way about nothing follows.

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
    /// The clients that hold it, and since when. One at most, if the target keeps its promise.
    var holders: [(client: Int, since: UInt64)] = []
  }

  /// One grant, on its way from the answer to the call that gives it back.
  private struct Hold {
    let site: Int
    let call: OperationCall
    let connection: WireConnection
    let key: Data
    let ending: OperationEnding
  }

  private let leases: [Int64]
  private let hold: TimeAmount
  private var sites: [Site]
  private var clientOf: [OperationTable.Ticket: Int] = [:]
  /// Clients of which a call took too long. Theirs may be granted late, beside the next call of the same client and under the
  /// same key, so what they hold is not known any more.
  private var isUncertain: Set<Int> = []

  /// - Precondition: there are as many names as event loops at least.
  init(_ plan: LoadPlan, _ place: LoopPlace, _ prepared: WirePrepared, names: Int, holdNanoseconds: UInt64) {
    leases = Array(prepared.leases[place.firstClient..<place.firstClient + place.share.clients])
    hold = .nanoseconds(Int64(clamping: holdNanoseconds))
    let own = (names - place.index + place.count - 1) / place.count
    sites = (0..<own).map { Site(name: "\(plan.configuration.keyPrefix)lock-\(place.index)-\($0)") }
  }

  func start(_ call: OperationCall, on connection: WireConnection, lane: Int, _ sink: any OperationSink) {
    let site = call.client % sites.count
    clientOf[call.ticket] = call.client
    let request = V3lockpb_LockRequest.with {
      $0.name = .init(sites[site].name.utf8)
      $0.lease = leases[call.client]
    }
    let bound = NIOLoopBound(self, eventLoop: connection.eventLoop)
    connection.unary(RPCPath.Lock.lock, .encoding(request)) { result in
      switch result {
      case .failure(let status): bound.value.end(call, OperationEnding(.failed(status)), sink)
      case .success(let bytes): bound.value.granted(bytes, site, call, connection, sink)
      }
    }
  }

  func forget(_ ticket: OperationTable.Ticket) {
    guard let client = clientOf.removeValue(forKey: ticket) else { return }
    isUncertain.insert(client)
    release(client)
  }

  private func end(_ call: OperationCall, _ ending: OperationEnding, _ sink: any OperationSink) {
    clientOf[call.ticket] = nil
    sink.ended(call.ticket, ending)
  }

  private func release(_ client: Int) { sites[client % sites.count].holders.removeAll { $0.client == client } }

  private func granted(
    _ bytes: ByteBuffer, _ site: Int, _ call: OperationCall, _ connection: WireConnection, _ sink: any OperationSink
  ) {
    let now = MonotonicClock.nanoseconds()
    var ending = OperationEnding(.succeeded)
    guard let answer = try? V3lockpb_LockResponse(received: bytes) else {
      return end(call, OperationEnding(.succeeded, violation: "an answer that is no LockResponse"), sink)
    }
    let number = answer.header.revision
    if let other = sites[site].holders.first(where: { $0.client != call.client }) {
      ending.violation =
        "\(sites[site].name) was granted to client \(call.client) at revision \(number) while client \(other.client) "
        + "had held it for \((now - other.since) / 1_000) µs"
    } else if number <= sites[site].number {
      ending.violation = "\(sites[site].name) was granted at revision \(number) after \(sites[site].number)"
    }
    ending.latencyNanoseconds = now - Swift.max(call.sent, sites[site].givenBackAt)
    sites[site].number = number
    let held = Hold(site: site, call: call, connection: connection, key: answer.key, ending: ending)
    guard hold > .zero else { return giveBack(held, sink) }
    if !isUncertain.contains(call.client) { sites[site].holders.append((call.client, now)) }
    connection.eventLoop.assumeIsolated().scheduleTask(in: hold) { self.giveBack(held, sink) }
  }

  /// The next may have the lock before the answer to this is here, so it counts as given back when it is sent.
  private func giveBack(_ held: Hold, _ sink: any OperationSink) {
    let request = V3lockpb_UnlockRequest.with { $0.key = held.key }
    release(held.call.client)
    sites[held.site].givenBackAt = MonotonicClock.nanoseconds()
    let bound = NIOLoopBound(self, eventLoop: held.connection.eventLoop)
    held.connection.unary(RPCPath.Lock.unlock, .encoding(request)) { result in
      switch result {
      case .success: bound.value.end(held.call, held.ending, sink)
      case .failure(let status):
        bound.value.end(held.call, OperationEnding(.failed(status), violation: held.ending.violation), sink)
      }
    }
  }
}
