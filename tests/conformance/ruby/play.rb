# Plays vectors with stubs that Debian's own tools generate, to show that the contract needs no client of ours.
#
#   ruby play.rb STUBS < servers.json     STUBS: the folder with the generated code; servers.json: what `serve` prints
#
# Prints each vector that it leaves out, with the reason, and each that fails; the last line is `played N, failed N`.

$LOAD_PATH.unshift(ARGV.fetch(0))
require "grpc"
require "google/protobuf/well_known_types"
require "google/rpc/error_details_pb"
require "google/rpc/status_pb"
require "securerandom"
%w[run schema stream token worker].each { |name| require "midstream/v1/#{name}_service_services_pb" }
require_relative "vectors"

CODES = GRPC::Core::StatusCodes.constants.to_h { |name| [GRPC::Core::StatusCodes.const_get(name), name.to_s] }
DEADLINE_SECONDS = 30
NOT_HERE = { "sign" => "it signs tokens", "hold" => "it holds calls open", "server" => "it stops the server" }.freeze

# A call's request and response types, and how it is called.
Rpc = Struct.new(:service, :name, :desc) do
  def self.named(text)
    service, name = text.split(".")
    new(service, name, Midstream::V1.const_get(service)::Service.rpc_descs.fetch(name.to_sym))
  end

  def request(json)
    type(desc.input).decode_json(JSON.generate(json))
  end

  def type(given)
    given.is_a?(GRPC::RpcDesc::Stream) ? given.type : given
  end

  def streams_requests?
    desc.input.is_a?(GRPC::RpcDesc::Stream)
  end
end

def json_of(message)
  JSON.parse(message.class.encode_json(message, emit_defaults: true))
end

def error_of(failed)
  error = { "code" => CODES[failed.code], "reason" => nil, "metadata" => {}, "fields" => [] }
  status = failed.to_rpc_status
  (status ? status.details : []).each do |detail|
    if (info = detail.unpack(Google::Rpc::ErrorInfo))
      error.update("reason" => info.reason, "metadata" => info.metadata.to_h)
    elsif (bad = detail.unpack(Google::Rpc::BadRequest))
      error["fields"] = bad.field_violations.map(&:field)
    end
  end
  error
end

class Player
  def initialize(vector, server)
    @vector = vector
    keys = { "apiKey" => "" }.merge(server["variables"])
    @variables = keys.merge(vector.variables, "unique" => SecureRandom.hex)
    @address = server["url"].delete_prefix("grpc://")
    @stubs = Hash.new do |stubs, service|
      stubs[service] = Midstream::V1.const_get(service)::Stub.new(@address, :this_channel_is_insecure)
    end
  end

  def play
    @vector.steps.each_with_index do |step, index|
      step.key?("exchange") ? exchange(step) : unary(step)
    rescue Mismatch => mismatch
      raise Mismatch, "#{@vector.name} (#{@vector.why})\nstep #{index + 1}, #{step["rpc"]}:\n#{mismatch.message}"
    end
  end

  private

  def unary(step)
    rpc = Rpc.named(step["rpc"])
    request = rpc.request(resolve(step["request"]))
    answers = Array.new(step.fetch("at_once", 1)) { Thread.new { answer(rpc, request, step) } }.map(&:value)
    answers.each do |response, error|
      Vectors.check(resolve(step.fetch("error", "no error")), error, "error") if step.key?("error") || error
      Vectors.check(resolve(step.fetch("response", {})), response || {}, "response")
    end
    Vectors.save(step["save"], answers[0][0], @variables)
  end

  def answer(rpc, request, step)
    [json_of(call(rpc, request, step)), nil]
  rescue GRPC::BadStatus => failed
    [nil, error_of(failed)]
  end

  def exchange(step)
    rpc = Rpc.named(step["rpc"])
    frames = step["exchange"]
    requests = Queue.new
    if rpc.streams_requests?
      operation = call(rpc, Enumerator.new { |out| while (each = requests.pop) do out << each end }, step, return_op: true)
    else
      operation = call(rpc, rpc.request(resolve(frames[0]["send"])), step, return_op: true)
      frames = frames.drop(1)
    end
    responses = operation.execute
    frames.each_with_index { |frame, index| frame(rpc, frame, requests, responses, index + 1) }
    requests << nil if step["end"] == "after_half_close"
    ending(step, responses) if step.key?("end") || step.key?("error")
  rescue GRPC::BadStatus => failed
    Vectors.check(resolve(step.fetch("error", "no error")), error_of(failed), "error")
  ensure
    operation&.cancel
    requests << nil
  end

  def frame(rpc, frame, requests, responses, number)
    return requests << rpc.request(resolve(frame["send"])) if frame.key?("send")
    response = json_of(responses.next)
    Vectors.check(resolve(frame["receive"]), response, "frame #{number}")
    Vectors.save(frame["save"], response, @variables)
  rescue StopIteration
    raise Mismatch, "frame #{number}: expected a response, the call ended"
  end

  def ending(step, responses)
    response = responses.next
    raise Mismatch, "expected the call to end, got #{Vectors.short(json_of(response))}"
  rescue StopIteration
    raise Mismatch, "expected #{step["error"]}, the call ended with OK" if step.key?("error")
  end

  def call(rpc, request, step, **options)
    secret = resolve(step.fetch("as", "${apiKey}"))
    metadata = secret.empty? ? {} : { "authorization" => "Bearer #{secret}" }
    name = GRPC::GenericService.underscore(rpc.name)
    @stubs[rpc.service].public_send(name, request, metadata: metadata, deadline: Time.now + DEADLINE_SECONDS, **options)
  end

  def resolve(value)
    Vectors.resolve(value, @variables)
  end
end

servers = JSON.parse($stdin.gets)
left_out, played = Vectors.load.partition { |vector| vector.steps.any? { |step| (step.keys & NOT_HERE.keys).any? } }
left_out.each do |vector|
  puts "left out: #{vector.name}: #{NOT_HERE[(vector.steps.flat_map(&:keys) & NOT_HERE.keys)[0]]}"
end
failures = played.filter_map do |vector|
  Player.new(vector, servers.fetch(vector.server)).play
  nil
rescue Mismatch => mismatch
  "failed: #{mismatch.message}"
rescue StandardError => error
  "failed: #{vector.name}: #{error.class}: #{Vectors.short(error.message)}"
end
puts failures
puts "played #{played.length}, failed #{failures.length}"
$stdout.flush
exit!(failures.empty?)
