# An HTTP server that counts words: answers each request with the ten most frequent words of its body.
use strict;
use warnings;
use IO::Socket::INET;

my $server = IO::Socket::INET->new(
    LocalAddr => $ENV{HOST}, LocalPort => $ENV{PORT}, Listen => 128, ReuseAddr => 1,
) or die "Can't listen on $ENV{HOST}:$ENV{PORT}: $!\n";

while (my $client = $server->accept) {
    my $length = 0;
    while (my $line = <$client>) {
        last if $line =~ /^\r?\n$/;
        $length = $1 if $line =~ /^content-length:\s*(\d+)/i;
    }
    read $client, (my $text), $length;
    my %count;
    $count{lc $&}++ while $text =~ /[a-z]+/gi;
    my @words = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
    splice @words, 10 if @words > 10;
    my $json = '{' . join(', ', map {qq("$_": $count{$_})} @words) . '}';
    print $client "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
        "Content-Length: " . length($json) . "\r\nConnection: close\r\n\r\n$json";
    close $client;
}
