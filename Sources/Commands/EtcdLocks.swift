// Locks as a plain etcd has them, for a gateway that stands on one, and the look at which of the two a cluster is.
//
// Must never take one kind of cluster for the other without being told: what an etcd cannot promise, nobody should get
// by a wrong address.

import Client
import FencingCore
import Gateway
import Protocol
import Wire

struct EtcdLocks: AuthorityLocks {
  let client: Portcullis

  /// One transaction that only reads, which etcd answers linearizably and from one state.
  func locks(of scope: String) async throws -> LockStanding {
    var own = Etcdserverpb_RequestOp()
    own.requestRange.key = .init(scope.utf8)
    own.requestRange.keysOnly = true
    var first = Etcdserverpb_RequestOp()
    first.requestRange.key = .init((scope + "/").utf8)
    // The byte behind the slash: the end of all keys that begin with `SCOPE/`.
    first.requestRange.rangeEnd = .init((scope + "0").utf8)
    first.requestRange.keysOnly = true
    first.requestRange.limit = 1
    first.requestRange.sortTarget = .create
    first.requestRange.sortOrder = .ascend
    var request = Etcdserverpb_TxnRequest()
    request.success = [own, first]
    let answer = try await client.call(
      RPCPath.KV.txn, request, as: Etcdserverpb_TxnResponse.self, isRepeatable: true, timeout: .seconds(5))
    guard answer.succeeded, answer.responses.count == 2 else {
      throw CommandFailure(ExitCode.failed, "etcd's answer about the lock \(scope) is not what was asked for")
    }
    return LockStanding(
      cluster: answer.header.clusterID, revision: answer.header.revision,
      own: try lock(answer.responses[0].responseRange.kvs.first),
      first: try lock(answer.responses[1].responseRange.kvs.first))
  }

  private func lock(_ found: Mvccpb_KeyValue?) throws -> LockStanding.Lock? {
    guard let found else { return nil }
    // A key that is no text can be nobody's here, and must not be mistaken for the lack of one.
    guard let key = String(validating: found.key, as: UTF8.self), let number = GrantNumber(found.createRevision) else {
      throw CommandFailure(ExitCode.failed, "a lock's key in etcd is no UTF-8")
    }
    return LockStanding.Lock(key: key, number: number, hasLease: found.lease != 0)
  }

  /// - Throws: where the cluster answers, and is of the other kind.
  static func checkKind(of client: Portcullis, isTakenForEtcd: Bool) async throws {
    let isCore: Bool
    do throws(RPCStatus) {
      _ = try await client.call(
        RPCPath.Authority.keys, Portcullis_V1_KeysRequest(), as: Portcullis_V1_KeysResponse.self, isRepeatable: true,
        timeout: .seconds(1))
      isCore = true
    } catch {
      // One that cannot be reached now is asked when it is needed.
      guard error.code == .unimplemented else { return }
      isCore = false
    }
    guard isCore == isTakenForEtcd else { return }
    let names = client.endpoints.map(\.description).joined(separator: ",")
    throw CommandFailure(
      ExitCode.usage,
      isCore
        ? "\(names) is a Portcullis core, which signs its tokens: leave --etcd out"
        : "\(names) is a plain etcd, which signs no tokens. With --etcd the create revisions of its locks are the numbers; "
          + "what is weaker then is in docs/etcd-locks.md")
  }
}
