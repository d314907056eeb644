// `snapshot`: a cluster's state into a file, what a file holds, and a new cluster from one.

import ArgumentParser
import Client
import Commands
import CoreNode
import Foundation

struct SnapshotCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "snapshot",
    abstract: "Save the state of a core to a file, look into one, make a new cluster from one.",
    discussion: """
      Example, a cluster of three that is lost and made anew:
        portcullis snapshot save backup.pcb --endpoints 10.0.0.1:2379
        portcullis snapshot status backup.pcb
        portcullis snapshot restore backup.pcb --name a --data-dir ./a \\
          --initial-cluster a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380 \\
          --initial-advertise-peer-urls http://10.0.0.1:2380          # the same on b and c, with their name and URL

      A file holds keys with their history, leases, grants, remembered requests, the nodes' public keys, and what else is in
      the replicated state, hashes of passwords among it. Nodes' private keys are never in it. Whoever has the file can read
      every value: it is made with mode 0600.

      Exit codes: 0 done, 1 failed or the file is damaged, 64 wrong arguments, 69 no node can be reached, 130 stopped by Ctrl-C.
      """,
    subcommands: [SnapshotSave.self, SnapshotStatus.self, SnapshotRestore.self])
}

struct SnapshotSave: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "save", abstract: "Save the whole replicated state of a running core to a file.",
    discussion: """
      Example:
        portcullis snapshot save backup.pcb --endpoints 10.0.0.1:2379,10.0.0.2:2379

      The file is one instant of the state, with everything that was acknowledged before. It gets its name when it is whole
      and durable; a save that is stopped leaves none. Writes go on meanwhile.
      """)

  @Argument(help: "The file to make.")
  var file: String

  @Option(help: "Core nodes to ask, with commas; the first that answers does. Environment: PORTCULLIS_ENDPOINTS.")
  var endpoints: String?

  @Option(help: "text or json, to stdout.")
  var output = OutputFormat.text

  @Flag(help: "Replace a file that is there.")
  var force = false

  @Flag(help: "Save what the node that is asked has applied, also where there is no leader to ask.")
  var serializable = false

  @OptionGroup var tls: ClientTLSFlags
  @OptionGroup var user: UserFlags

  func run() async throws {
    let text = endpoints ?? ConnectionOptions.environment("PORTCULLIS_ENDPOINTS") ?? "127.0.0.1:2379"
    let list: [Endpoint]
    do {
      list = try Endpoint.list(parsing: text)
    } catch {
      throw ValidationError(error.description)
    }
    var saving = Saving(endpoints: list, path: file)
    saving.tls = try tls.options(for: list)
    saving.credentials = try user.credentials()
    saving.replaces = force
    saving.serializable = serializable
    let line = ProgressLine()
    let saved: Saving.Saved
    do {
      saved = try await saving.run { bytes, estimate in line.show("saved", bytes, of: estimate) }
    } catch {
      line.end()
      throw error
    }
    line.end()
    let header = saved.header
    if output == .json {
      return print(try JSONOutput.pretty(SavedFile(file: file, bytes: saved.bytes, header: header)))
    }
    print(
      "saved revision \(header.revision) of cluster \(header.clusterID), incarnation \(header.incarnation), to \(file)"
        + " (\(ProgressLine.amount(saved.bytes)))")
  }
}

/// What was saved, as JSON has it.
private struct SavedFile: Encodable {
  let file: String
  let bytes: UInt64
  let header: BackupHeader
}

struct SnapshotStatus: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Check a file to its last byte and show what it holds.",
    discussion: """
      Example:
        portcullis snapshot status backup.pcb --output json

      Takes files of `portcullis snapshot save` and of `etcdctl snapshot save`. The hash of one of ours is that of `etcdctl
      endpoint hashkv` of a member at the same revision and compaction. A file that is not intact is told as such, with exit
      code 1.
      """)

  @Argument(help: "The file.")
  var file: String

  @Option(help: "text or json, to stdout.")
  var output = OutputFormat.text

  func run() throws {
    let status: BackupStatus
    do {
      status = try BackupStatus(of: file)
    } catch {
      throw CommandFailure(Commands.ExitCode.failed, "\(error)")
    }
    switch output {
    case .json: print(try JSONOutput.pretty(status))
    case .text: print(StatusText(status).text)
    }
    if let problem = status.problem {
      throw CommandFailure(Commands.ExitCode.failed, "\(file) cannot be used: \(problem)")
    }
  }
}

struct SnapshotRestore: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Make the data directory of one member of a new cluster from a file.",
    discussion: """
      Example, on the first of three machines:
        portcullis snapshot restore backup.pcb --name a --data-dir ./a --initial-cluster-token after-the-fire \\
          --initial-cluster a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380 \\
          --initial-advertise-peer-urls http://10.0.0.1:2380

      Run it once for each member, with the same file and the same arguments but for --name, --data-dir and
      --initial-advertise-peer-urls; then start the members as usual, with the same token. The file may also be one of
      `etcdctl snapshot save`: keys and leases are taken from it.

      The new cluster has a higher incarnation, so its tokens beat every one of the old cluster. Leases begin anew with their
      full time. Restoring a second time from the same file, after the first cluster has served: give --incarnation above
      that cluster's.
      """)

  @Argument(help: "The file.")
  var file: String

  @Option(help: "The name of this node in --initial-cluster.")
  var name = "default"

  @Option(name: .customLong("data-dir"), help: "The directory to make. Default: NAME.portcullis")
  var dataDirectory: String?

  @Option(
    name: .customLong("initial-cluster"), help: "Every member of the new cluster, as name=url with commas.")
  var initialCluster: String?

  @Option(name: .customLong("initial-cluster-token"), help: "Tells clusters apart; the same for every member.")
  var clusterToken = "portcullis-cluster"

  @Option(name: .customLong("initial-advertise-peer-urls"), help: "This node's URL in --initial-cluster.")
  var advertisePeer = "http://localhost:2380"

  @Option(help: "The new cluster's incarnation. Default: one above the file's.")
  var incarnation: UInt64?

  @Flag(
    name: .customLong("keep-cluster-id"),
    help: "Keep the saved cluster's id, so that databases which are pinned to it need not be moved.")
  var keepClusterID = false

  @Option(
    name: .customLong("bump-revision"),
    help: "Go on this many revisions later, above all that the old cluster gave out; with --mark-compacted.")
  var bumpRevision: Int64 = 0

  @Flag(
    name: .customLong("mark-compacted"),
    help: "Forget the history, so that watchers from the old cluster are told to read anew.")
  var markCompacted = false

  @Flag(
    name: .customLong("skip-hash-check"), help: "Take a copy of etcd's member/snap/db, which has no checksum behind it."
  )
  var skipHashCheck = false

  func validate() throws {
    guard (0...(1 << 50)).contains(bumpRevision) else {
      throw ValidationError("--bump-revision must be from 0 to \(1 << 50)")
    }
    guard bumpRevision == 0 || markCompacted else {
      throw ValidationError(
        "--bump-revision needs --mark-compacted: a watcher from the old cluster would skip what is left out without a word"
      )
    }
    guard !name.isEmpty else { throw ValidationError("--name must not be empty") }
  }

  func run() throws {
    var options = RestoreOptions()
    options.name = name
    options.dataDirectory = dataDirectory ?? "\(name).portcullis"
    options.peers = try peers()
    options.clusterToken = clusterToken
    options.incarnation = incarnation
    options.keepsClusterID = keepClusterID
    options.revisionBump = bumpRevision
    options.marksCompacted = markCompacted
    options.skipsHashCheck = skipHashCheck
    let report: RestoreReport
    do {
      report = try Restoration.run(file, options)
    } catch {
      throw CommandFailure(Commands.ExitCode.failed, "\(error)")
    }
    tell(report, options)
  }

  private func peers() throws -> [Peer] {
    let peers: [Peer]
    let own: [Peer]
    do throws(NodeError) {
      peers = try Peer.list(parsing: initialCluster ?? "\(name)=\(advertisePeer)")
      own = try Peer.list(parsing: "\(name)=\(advertisePeer)")
    } catch {
      throw ValidationError("--initial-cluster: \(error)")
    }
    guard own.count == 1, peers.contains(where: { $0 == own[0] }) else {
      let there = peers.first { $0.name == name }?.url ?? "nothing"
      throw ValidationError(
        "--initial-cluster has \(there) for \(name), and --initial-advertise-peer-urls is \(advertisePeer): they must be the"
          + " same")
    }
    return peers
  }

  private func tell(_ report: RestoreReport, _ options: RestoreOptions) {
    let figures = report.figures
    var lines = [
      "restored \(figures.keys) keys, \(figures.leases) leases and \(figures.grants) grants at revision \(report.revision)"
        + " into \(options.dataDirectory)",
      "  cluster \(String(report.clusterID, radix: 16)), incarnation \(report.incarnation), member"
        + " \(String(report.memberID, radix: 16)) (\(options.name)) of \(options.peers.count)",
    ]
    lines += report.leftOut.map { "  not carried over: \($0)" }
    if let saved = report.saved, saved.clusterID != String(report.clusterID, radix: 16) {
      lines.append(
        "  the old cluster was \(saved.clusterID): databases that a gateway has pinned to it refuse the new one's tokens"
          + " until they are moved")
    }
    if !options.marksCompacted {
      lines.append(
        "  whoever goes on watching from a revision of the old cluster after \(report.revision) will miss what is written"
          + " here: if there are such watchers, restore with --bump-revision 1000000000 --mark-compacted")
    }
    print(lines.joined(separator: "\n"))
  }
}
