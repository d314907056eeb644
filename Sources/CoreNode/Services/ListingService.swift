// portcullis.v1's Listing: a range of any size at one revision, a page at a time. What is kept for a caller is the root of
// the store and where the next page begins, so a caller that reads slowly costs next to nothing, up to a bound in time.

import CoordinationCore
import NIOCore
import Protocol
import Wire

struct ListingService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [RPCPath.Listing.list: .streaming { [core] call in ListStream(call, core: core) }]
  }
}

/// `@unchecked Sendable`: used on the call's event loop alone.
final class ListStream: @unchecked Sendable, StreamHandler {
  private static let defaultPageBytes = 256 << 10
  private static let pageBytes = (4 << 10)...(1 << 20)
  /// Keys looked at for a page before others get their turn on the event loop.
  private static let maxVisited = 4096

  private let call: StreamCall
  private let core: CoreAccess
  private var cursor: RangeCursor?
  private var evidence = Portcullis_V1_Evidence()
  private var pageBytes = ListStream.defaultPageBytes
  private var keysOnly = false
  private var count: Int64 = 0
  private var hold: StateHold?
  private var hasBegun = false
  private var hasTurn = false
  private var isClosed = false

  init(_ call: StreamCall, core: CoreAccess) {
    self.call = call
    self.core = core
  }

  func received(_ message: ByteBuffer) {
    guard !hasBegun, let request = call.decode(Portcullis_V1_ListRequest.self, from: message) else { return }
    hasBegun = true
    let query: RangeQuery
    do throws(RequestError) {
      query = try RangeQuery(request)
    } catch {
      return end(RPCStatus(error))
    }
    if request.pageBytes != 0 {
      pageBytes = min(max(Int(request.pageBytes), Self.pageBytes.lowerBound), Self.pageBytes.upperBound)
    }
    keysOnly = request.keysOnly
    if request.serializable { return begin(core.publication.snapshot, query) }
    core.readLinearizably(on: call.eventLoop) { [self] result in
      guard !isClosed else { return }
      switch result {
      case .failure(let failure): end(RPCStatus(failure))
      case .success(let snapshot): begin(snapshot, query)
      }
    }
  }

  private func begin(_ snapshot: Snapshot, _ query: RangeQuery) {
    do throws(RequestError) {
      try core.checkRead(query.range, by: call, in: snapshot)
      cursor = try RangeCursor(snapshot.state.store, query)
    } catch {
      return end(RPCStatus(error))
    }
    evidence = core.evidence(snapshot)
    hold = StateHold(core, on: call.eventLoop) { [self] status in end(status) }
    guard hold != nil else { return end(StateHold.tooMany(core)) }
    pump()
  }

  /// Sends a page, and comes back for the next when the others on this event loop had their turn.
  private func pump() {
    guard !isClosed, !hasTurn, var cursor, call.isWritable else { return }
    // One owner, or the page would be made beside a copy.
    self.cursor = nil
    let page = cursor.next(maxBytes: pageBytes, maxVisited: Self.maxVisited)
    let revision = cursor.revision
    self.cursor = cursor
    guard let page else { return finish(at: revision) }
    hold?.moved()
    if !page.isEmpty {
      var response = answer(at: revision)
      response.kvs = page.map { Mvccpb_KeyValue($0, keysOnly: keysOnly) }
      count += Int64(page.count)
      _ = call.send(response)
    }
    hasTurn = true
    call.eventLoop.execute { [self] in
      hasTurn = false
      pump()
    }
  }

  private func finish(at revision: Revision) {
    var response = answer(at: revision)
    response.end.count = count
    _ = call.send(response)
    end(nil)
  }

  private func answer(at revision: Revision) -> Portcullis_V1_ListResponse {
    var response = Portcullis_V1_ListResponse()
    response.evidence = evidence
    response.revision = revision
    return response
  }

  private func end(_ status: RPCStatus?) {
    guard !isClosed else { return }
    closed()
    call.finish(status)
  }

  func halfClosed() {}
  func writable() { pump() }

  func closed() {
    isClosed = true
    hold?.release()
    hold = nil
    cursor = nil
  }
}

extension RangeQuery {
  fileprivate init(_ request: Portcullis_V1_ListRequest) throws(RequestError) {
    if request.key.isEmpty { throw .keyNotProvided }
    self.init(range: KeyRange(key: Bytes(request.key), rangeEnd: Bytes(request.rangeEnd)))
    revision = request.revision
    keysOnly = request.keysOnly
    minModRevision = request.minModRevision
    maxModRevision = request.maxModRevision
    minCreateRevision = request.minCreateRevision
    maxCreateRevision = request.maxCreateRevision
  }
}
